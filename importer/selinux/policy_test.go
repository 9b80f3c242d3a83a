package selinux

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// base makes the text of file_contexts of specifications, after one for everything.
func base(lines ...string) map[string]string {
	return map[string]string{"file_contexts": "/.* default\n/ root\n" + strings.Join(lines, "\n") + "\n"}
}

func with(files map[string]string, more ...string) map[string]string {
	for i := 0; i < len(more); i += 2 {
		files["file_contexts."+more[i]] = more[i+1]
	}
	return files
}

// TestSameAsOstree compares labels with those that ostree gives. want names those that are the
// point of a case; all others are compared as well.
func TestSameAsOstree(t *testing.T) {
	long := strings.Repeat("x", 200)
	tests := []struct {
		name  string
		files map[string]string
		paths paths
		want  map[string]string
	}{
		{"the last that matches", base("/a/.* first", "/a/b.* second", "/a(/.*)? third"), paths{}.add(file, "/a/b", "/ab"), map[string]string{"/a/b": "third", "/a": "third", "/ab": "default"}},
		{"expressions at the end", base("/a.+ some", "/b/.+ some", "/c[^/]* one", "/d/[^/]* one"), paths{}.add(file, "/a/x", "/b/x", "/c/x", "/d/x/y"), map[string]string{"/a": "default", "/a/x": "some", "/b": "default", "/b/x": "some", "/c": "one", "/c/x": "default", "/d/x": "one", "/d/x/y": "default"}},
		{"a path beats expressions", base("/a/b one", "/a/.* two"), paths{}.add(file, "/a/b", "/a/c"), map[string]string{"/a/b": "one", "/a/c": "two"}},
		{"the last file", with(base("/a one", "/b.* one", "/c.* one"), "homedirs", "/b.* two\n/c.* two", "local", "/c.* three\n"), paths{}.add(file, "/a", "/b", "/c"), map[string]string{"/a": "one", "/b": "two", "/c": "three"}},
		{"local comes after homedirs", with(base(), "local", "/a.* local", "homedirs", "/a.* homedirs"), paths{}.add(file, "/a"), map[string]string{"/a": "local"}},
		{"file types", base("/a/.* -d directory", "/a/.* -- regular", "/a/.* -l link", "/a/.* -s socket", "/a/.* -b block", "/a/.* -c character", "/a/.* -p fifo"),
			paths{}.add(dir, "/a/d").add(file, "/a/f").add(symlink, "/a/l"), map[string]string{"/a/d": "directory", "/a/f": "regular", "/a/l": "link"}},
		{"file types of paths", base("/a/d -- no", "/a/d -d yes", "/a/f -d no", "/a/f -- yes"), paths{}.add(dir, "/a/d").add(file, "/a/f", "/a/f2"), map[string]string{"/a/d": "yes", "/a/f": "yes"}},
		{"a path of another type leaves expressions", base("/a/.* yes", "/a/d -- no"), paths{}.add(dir, "/a/d"), map[string]string{"/a/d": "yes"}},
		{"none", base("/a/.* one", "/a/b.* <<none>>", "/a/bc.* two", "/x <<none>>"), paths{}.add(file, "/a/b", "/a/bc", "/x"), map[string]string{"/a/b": "", "/a/bc": "two", "/x": ""}},
		{"none for one type", base("/a/.* one", "/a/.* -- <<none>>"), paths{}.add(file, "/a/f").add(symlink, "/a/l"), map[string]string{"/a/f": "", "/a/l": "one"}},
		{"white space and comments", map[string]string{"file_contexts": "\n   # x y\n#/.* no\n\t/.* \t all \v\n\f\n/a --  one\r\n/b -d three four five\n/c -d four\x00five\n/ r"},
			paths{}.add(file, "/a", "/d").add(dir, "/c"), map[string]string{"/a": "one", "/d": "all", "/c": "four", "/": "r"}},
		{"usr/etc is what it is called", base("/etc(/.*)? etc", "/usr(/.*)? usr"), paths{}.add(file, "/usr/etc/passwd"), map[string]string{"/usr/etc": "usr", "/usr/etc/passwd": "usr"}},
		{"usr/etc by substitution", with(base("/etc(/.*)? etc", "/usr(/.*)? usr"), "subs_dist", "/usr/etc /etc\n"), paths{}.add(file, "/usr/etc/passwd", "/usr/etcetera"), map[string]string{"/usr/etc": "etc", "/usr/etc/passwd": "etc", "/usr/etcetera": "usr"}},
		{"proc is like mnt", base("/proc <<none>>", "/proc/.* below", "/mnt -d mnt"), paths{}.add(dir, "/proc", "/mnt").add(file, "/proc/x"), map[string]string{"/proc": "mnt", "/proc/x": "below"}},
		{"factory and var", base("/var(/.*)? var", "/usr/share(/.*)? share"), paths{}.add(file, "/var/lib/x", "/usr/share/factory/var/lib/x"), map[string]string{"/var/lib/x": "var", "/usr/share/factory/var/lib/x": "share"}},
		{"substitutions", with(base("/b(/.*)? b", "/c(/.*)? c", "/d(/.*)? d"), "subs", "# /b /c\n/a /b\n  /x\t/c  more\n/y\n", "subs_dist", "/b /d\n/a /c\n"), paths{}.add(file, "/a/1", "/b/1", "/x/1", "/y/1", "/ab"),
			map[string]string{"/a/1": "d", "/b/1": "d", "/x/1": "c", "/y/1": "default", "/ab": "default"}},
		{"a substitution by the root", with(base("/etc(/.*)? etc"), "subs", "/chroot /\n"), paths{}.add(file, "/chroot/etc/x"), map[string]string{"/chroot": "root", "/chroot/etc/x": "etc"}},
		{"alternatives without parentheses", base("/a|b one", "/x/c|/x/d two", "/s/?t? three", "/u/v*w four"), paths{}.add(file, "/a", "/abc", "/zb", "/x/cc", "/x/d", "/x/y/x/d", "/y/x/d", "/q/b", "/st", "/s/t", "/u/w", "/u/vvw", "/u").add(dir, "/s"),
			map[string]string{"/abc": "one", "/zb": "one", "/x/cc": "two", "/x/y/x/d": "two", "/y/x/d": "default", "/q/b": "one", "/st": "default", "/s": "default", "/s/t": "three", "/u/w": "four", "/u/vvw": "four"}},
		{"nothing but one specification", map[string]string{"file_contexts": "(/|/a) some"}, paths{}.add(file, "/a", "/b"), map[string]string{"/": "some", "/a": "some", "/b": ""}},
		{"long names", base("/" + long + "/.* one"), paths{}.add(file, "/"+long+"/"+long), map[string]string{"/" + long + "/" + long: "one"}},
		{"names beyond ASCII", base("/a/. one", "/a/.. two", "/a/..... five", "/b/[^/]. two", "/c(/.*)? all"), paths{}.add(file, "/a/é", "/a/éa", "/a/ééé", "/b/é", "/b/éé", "/a/\u20ac\u00e9", "/c/日本"),
			map[string]string{"/a/é": "two", "/a/éa": "default", "/a/\u20ac\u00e9": "five", "/b/é": "two", "/c/日本": "all"}},
		{"names with line breaks", base("/a/b(/.*)? one", "/a/c.* two", "/a/d$ three", "/a/e/[^/]* four", "/a/f/.+ five", "/a/x.z six"),
			paths{}.add(file, "/a/b\n", "/a/b\n\n", "/a/c\nx", "/a/c\n", "/a/d", "/a/d\n", "/a/e/x\n", "/a/e/\nx", "/a/f/\n", "/a/x\nz", "/a/x\nz\n"),
			map[string]string{"/a/b\n": "one", "/a/b\n\n": "default", "/a/d\n": "three", "/a/x\nz": "six", "/a/x\nz\n": "six"}},
		{"names with operators", base(`/a\+b one`, `/a\.b/.* two`, `/a\-b\_c\,d three`, `/\[x\]\(y\)\{z\} four`, `/p\^q\$r\|s\?t\*u five`), paths{}.add(file, "/a+b", "/a.b/c", "/axb/c", "/a-b_c,d", "/[x](y){z}", "/p^q$r|s?t*u"),
			map[string]string{"/a+b": "one", "/a.b/c": "two", "/axb/c": "default", "/a-b_c,d": "three", "/[x](y){z}": "four", "/p^q$r|s?t*u": "five"}},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := policyDir(t, tt.files)
			p := load(t, repo, root)
			landTree(t, repo, tt.paths)
			all := labels(t, repo, oracle(t, repo, root, "tree"))
			compare(t, p, all)
			for name, want := range tt.want {
				if got := strings.TrimSuffix(all[name].label, "\x00"); got != want || all[name].mode == 0 {
					t.Errorf("ostree itself gives %q the label %q, the test expects %q", name, got, want)
				}
			}
		})
	}
}

// TestContradictions has policies that contradict themselves, which versions of libselinux resolve
// differently. What is expected here is what 3.4 says; 3.11 agrees on the first two.
func TestContradictions(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  map[string]string
	}{
		{"one path in two files", with(base("/a one"), "local", "/a two\n"), map[string]string{"/a": "two"}},
		{"the last substitution", with(base("/b/x.* one", "/c/x.* two"), "subs_dist", "/a /b\n/a /c\n/a/y /b/x\n"), map[string]string{"/a/x1": "two", "/a/y": "one"}},
		{"one path twice", base("/a one", "/a two"), map[string]string{"/a": "two"}},
		{"none before a shorter one", base("/a/b/.* <<none>>", "/[a]/b/c two"), map[string]string{"/a/b/c": "two", "/a/b/d": ""}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := load(t, repo, policyDir(t, tt.files))
			for path, want := range tt.want {
				if got, ok := p.Label(path, file); got != want || ok != (want != "") {
					t.Errorf("%s: %q (%t), want %q", path, got, ok, want)
				}
			}
		})
	}
}

func TestLayouts(t *testing.T) {
	const specs = "/.* label\n"
	tests := []struct {
		name  string
		dir   string
		files map[string]string
		want  bool
	}{
		{"nothing", "usr/etc", map[string]string{"passwd": ""}, false},
		{"no configuration", "usr/etc/selinux", map[string]string{"t/contexts/files/file_contexts": specs, "t/policy/policy.33": ""}, false},
		{"disabled", "usr/etc/selinux", policy("SELINUX=disabled\nSELINUXTYPE=t\n", specs), false},
		{"not said", "usr/etc/selinux", policy("SELINUXTYPE=t\n", specs), false},
		{"enforcing", "usr/etc/selinux", policy("SELINUX=enforcing\nSELINUXTYPE=t\n", specs), true},
		{"permissive, whatever follows", "usr/etc/selinux", policy("SELINUXTYPE= \tt \nSELINUX=PermissiveX", specs), true},
		{"a space before the value", "usr/etc/selinux", policy("SELINUXTYPE=t\nSELINUX= enforcing\n", specs), false},
		{"a space before the key", "usr/etc/selinux", policy("SELINUXTYPE=t\n SELINUX=enforcing\n", specs), false},
		{"commented out", "usr/etc/selinux", policy("SELINUXTYPE=t\n#SELINUX=enforcing\n", specs), false},
		{"enabled once", "usr/etc/selinux", policy("SELINUX=enforcing\nSELINUX=disabled\nSELINUXTYPE=x\nSELINUXTYPE=t\n", specs), true},
		{"in etc", "etc/selinux", policy("SELINUX=enforcing\nSELINUXTYPE=t\n", specs), true},
		{"symbolic links", "usr/etc/selinux", map[string]string{
			"config": "-> ../real", "../real": "SELINUX=enforcing\nSELINUXTYPE=t\n", "t": "-> ./x/../y", "x/z": "", "y/contexts/files/file_contexts": "-> ../fc",
			"y/contexts/fc": specs, "y/policy/policy.9": "",
		}, true},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	landTree(t, repo, paths{}.add(file, "/a"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := writeFiles(t, tt.dir, tt.files)
			p := load(t, repo, root)
			if (p != nil) != tt.want {
				t.Fatalf("policy %v", p)
			}
			compare(t, p, labels(t, repo, oracle(t, repo, root, "tree")))
			if id, err := ID(t.Context(), repo, commitDir(t, repo, root).Tree); err != nil || id != p.ID() || (id != "") != tt.want {
				t.Errorf("ID %q, %v; the policy's is %q", id, err, p.ID())
			}
		})
	}
}

// policy makes the files of a policy.
func policy(config, specs string) map[string]string {
	return map[string]string{"config": config, "t/contexts/files/file_contexts": specs, "t/policy/policy.33": ""}
}

func TestUnusable(t *testing.T) {
	const on = "SELINUX=enforcing\nSELINUXTYPE=t\n"
	missing := func(drop string) map[string]string {
		files := policy(on, "/.* x\n")
		delete(files, drop)
		return files
	}
	tests := []struct {
		name  string
		files map[string]string
		want  []string
		// alone says that ostree would take it: it is refused here because of what it asks of the
		// machine.
		alone bool
	}{
		{"no file of specifications", missing("t/contexts/files/file_contexts"), []string{"usr/etc/selinux/t", "file_contexts is missing", "SELINUX=disabled"}, false},
		{"no binary policy", missing("t/policy/policy.33"), []string{"policy/policy.NN"}, false},
		{"a binary policy of another name", map[string]string{"config": on, "t/contexts/files/file_contexts": "/.* x", "t/policy/policy.x": "", "t/policy/xpolicy.1": ""}, []string{"policy/policy.NN"}, false},
		{"no label for the root", policy(on, "/a x\n"), []string{"no label to /"}, false},
		{"no specifications", policy(on, "\n"), []string{"no label to /"}, false},
		{"one field", policy(on, "/.* x\n/a\n"), []string{"file_contexts, line 2", `"/a"`, "one field"}, false},
		{"an unknown file type", policy(on, "/.* x\n\n/a -x y\n"), []string{"file_contexts, line 3", `"-x"`}, false},
		{"a label beyond ASCII", policy(on, "/.* é\n"), []string{"line 1", "ASCII"}, false},
		{"an expression that is none", policy(on, "/.* x\n/.*( y\n"), []string{"line 2", `"/.*("`, "not closed"}, false},
		{"an expression that is not supported", policy(on, "/.* x\n/.*(?R) y\n"), []string{"line 2", `(?R)`}, true},
		{"no type", policy("SELINUX=enforcing\n", "/.* x\n"), []string{"usr/etc/selinux/config", "SELINUXTYPE"}, true},
		{"a type that is a path", policy("SELINUX=enforcing\nSELINUXTYPE=../selinux/t\n", "/.* x\n"), []string{"config", "SELINUXTYPE"}, true},
		{"a configuration that is no text", policy(on+"\xff\n", "/.* x\n"), []string{"config", "UTF-8"}, false},
		{"a configuration that is large", policy(on+strings.Repeat("#", maxConfig), "/.* x\n"), []string{"config", "65536"}, true},
		{"a directory", map[string]string{"config/x": ""}, []string{"config", "directory"}, true},
		{"symbolic links in a circle", map[string]string{"config": "-> config2", "config2": "-> config"}, []string{"config", "symbolic links"}, true},
		{"many specifications", policy(on, "/.* x\n"+strings.Repeat("/a x\n", maxSpecs)), []string{"200000"}, true},
		{"complex expressions", policy(on, "/.* x\n"+strings.Repeat("/a([bc]{500}x){30} x\n", 200)), []string{"complex"}, true},
		{"many substitutions", map[string]string{
			"config": on, "t/contexts/files/file_contexts": "/.* x", "t/policy/policy.1": "", "t/contexts/files/file_contexts.subs": strings.Repeat("/a /b\n", maxSubs+1),
		}, []string{"file_contexts.subs", "10000"}, true},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	landTree(t, repo, paths{}.add(file, "/a"))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := writeFiles(t, "usr/etc/selinux", tt.files)
			p, err := Load(t.Context(), repo, commitDir(t, repo, root).Tree)
			if !errors.Is(err, ErrUnusable) || p != nil || len(err.Error()) > 600 {
				t.Fatalf("%v, error %v", p, err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %s", err, want)
				}
			}
			if !tt.alone && ostreeTakes(t, repo, root) {
				t.Error("ostree takes the policy")
			}
		})
	}
}

func TestID(t *testing.T) {
	files := with(base(), "subs", "/a /b\n")
	ids := map[string]string{}
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		repo := newRepo(t, mode)
		root := policyDir(t, files)
		tree := commitDir(t, repo, root)
		p, err := Load(t.Context(), repo, tree.Tree)
		if err != nil {
			t.Fatal(err)
		}
		ids[p.ID()] = "a mode"

		// The labels that the policy's own files get don't matter.
		st := staging(t, repo)
		relabelled, stats, err := Relabel(t.Context(), st, tree, p, "/")
		if err != nil || stats.Relabelled == 0 || relabelled == tree {
			t.Fatalf("%v, %+v: %v", relabelled, stats, err)
		}
		again, err := ID(t.Context(), st, relabelled.Tree)
		if err != nil {
			t.Fatal(err)
		}
		ids[again] = "the policy labelled by itself"
	}
	if len(ids) != 1 || len(ids[""]) > 0 {
		t.Errorf("different IDs: %v", ids)
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for i, files := range []map[string]string{
		base(), base("/a b"), with(base(), "subs", "/a /c\n"), with(base(), "subs_dist", "/a /b\n"), with(base(), "local", "/a /b\n"), with(base(), "homedirs", "/a /b\n"),
	} {
		id := load(t, repo, policyDir(t, files)).ID()
		if other, known := ids[id]; known {
			t.Errorf("policy %d has the ID of %s", i, other)
		}
		ids[id] = fmt.Sprintf("policy %d", i)
	}
}

func TestNoPolicy(t *testing.T) {
	var p *Policy
	_, hasLabel := p.Label("/", dir)
	_, hasXattr := p.Xattr("/", dir)
	if p.ID() != "" || hasLabel || hasXattr || p.Err() != nil {
		t.Error("a nil policy gives something")
	}
	tree := objects.TreeDir{Name: "x", Tree: objects.Checksum{1}}
	if got, stats, err := Relabel(t.Context(), nil, tree, nil, "/"); got != tree || stats != (Stats{}) || err != nil {
		t.Errorf("relabelled: %v %v %v", got, stats, err)
	}
}

func TestMissingObjects(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	if _, err := Load(t.Context(), repo, objects.Checksum{1}); !errors.Is(err, ostreerepo.ErrNoObject) || errors.Is(err, ErrUnusable) {
		t.Errorf("Load: %v", err)
	}
	if _, err := ID(t.Context(), repo, objects.Checksum{1}); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("ID: %v", err)
	}
}

func TestLoadCanceled(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	tree := commitDir(t, repo, policyDir(t, base()))
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if _, err := Load(ctx, repo, tree.Tree); !errors.Is(err, cause) {
		t.Errorf("error %v", err)
	}
}

// TestConcurrent has many goroutines compile the same expressions.
func TestConcurrent(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	p := load(t, repo, policyDir(t, base("/a/[0-9]+ number", "/a/(?!x)[a-z]+ word")))
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for i := range 100 {
				for path, want := range map[string]string{fmt.Sprint("/a/", i): "number", "/a/yes": "word", "/a/xno": "default"} {
					if got, ok := p.Label(path, file); got != want || !ok {
						t.Errorf("%s: %q", path, got)
					}
				}
			}
		})
	}
	group.Wait()
}

// TestSubstitutionsTakeNoTime wants a look-up to take no longer because there are many of them.
func TestSubstitutionsTakeNoTime(t *testing.T) {
	stem := strings.Repeat("/component", 100)
	var text strings.Builder
	for i := range maxSubs {
		fmt.Fprintf(&text, "%s/%d /b\n", stem, i)
	}
	subs, err := parseSubstitutions(subsFile, text.String())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 20_000 {
		if got := subs.apply(stem + "/7/x"); got != "/b/x" {
			t.Fatalf("%q", got)
		}
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("20,000 look-ups take %v", took)
	}
}
