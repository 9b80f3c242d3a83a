// Package selinux computes the SELinux labels of an OSTree commit from the policy that the commit
// carries, and relabels trees.
//
// # What decides
//
// The labels are those that `ostree commit --selinux-policy` gives: libostree's ostree-sepolicy.c
// finds the policy, and libselinux's label_file.c and regex.c say how a path is matched. Of the
// policy only the text files in etc/selinux/TYPE/contexts/files matter:
//
//   - file_contexts, then file_contexts.homedirs and file_contexts.local: specifications, that is a regular expression, optionally a
//     file type, and a label. The compiled .bin files hold the same.
//   - file_contexts.subs and file_contexts.subs_dist: prefixes of paths that stand for others. The last line that fits counts; the
//     former file is applied before the latter.
//
// A specification without regular expression operators names one path, and beats all others for it.
// Of the others the last that matches counts. The label <<none>> means that there is none. A tree
// whose configuration does not say enforcing or permissive has no policy. One that does must have a
// binary policy as well, though nothing is read from it: libostree refuses the policy otherwise.
//
// Paths are those in the commit. What a commit has in usr/etc is labelled as /usr/etc, unless the
// policy's own substitutions say otherwise; that is what libostree does by default. /proc is
// labelled as /mnt, since policies leave it unlabelled and a commit's empty directory of that name
// would be, too.
//
// Versions of libselinux differ where a policy contradicts itself. Then the documented order counts
// here, the last that matches, which is also that of libselinux 3.4. Since version 3.8 a <<none>>
// below longer fixed directories beats later matches below shorter ones, and of several
// specifications for one path without operators in one file the first counts. In 3.8 itself that is
// so over all files, as in those of Debian 13 for /root/.k5login, and the first of several
// substitutions that fit counts; 3.11 has put that right.
//
// # Regular expressions
//
// Package pcre translates them, so that Go's matchers take them. What it does not support makes
// Load fail, and the error names the line.
//
// To label a path, only specifications are tried of which the fixed text before the first operator
// begins the path, the last first; and most of these are ruled out by another fixed text that they
// need, or are of a form that needs no regular expression.
//
// An image brings both policy and paths, and the work may grow with the product of the two. So the
// steps are counted, and a policy that takes too many for the paths so far gives no more labels
// (effort.go).
package selinux
