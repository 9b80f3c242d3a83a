package layertar

import (
	"archive/tar"
	"context"
	"io"
	"strings"
)

// filteredSysroot is the key under which changed objects that nothing links to, and links to
// objects that the layer doesn't have, are counted.
const filteredSysroot = "sysroot"

// inRepository reports whether a path is below the repository that an image with an encapsulated
// commit has.
func inRepository(path []string) bool {
	return len(path) > 3 && path[0] == filteredSysroot && path[1] == "ostree" && path[2] == "repo"
}

// isModified reports whether an entry was changed after the commit was encapsulated: what comes
// from there has the time 0.
func isModified(h *tar.Header) bool { return h.ModTime.Unix() > 0 }

// holdsBack reports whether an entry is an object of the repository that is there only for the hard
// links to it. Container builds list again those that they have changed, and those that have lost
// one of their links.
func (r *reader) holdsBack(h *tar.Header, path []string) bool {
	return r.opts.Rules.SysrootLinks && isRegular(h.Typeflag) && inRepository(path) &&
		!strings.HasPrefix(path[len(path)-1], whiteoutPrefix)
}

// isScaffold reports whether an entry is a directory that the image has only for the repository
// with the encapsulated commit: container builds list those again whose objects they have changed.
// On a host /sysroot is a mount point, and the commit must not fill it.
func (r *reader) isScaffold(h *tar.Header, path []string) bool {
	return r.opts.Rules.SysrootLinks && h.Typeflag == tar.TypeDir && inScaffold(path)
}

// inScaffold reports whether a path is one that only the image has, not the commit in it.
func inScaffold(path []string) bool {
	return len(path) > 1 && path[0] == filteredSysroot && path[1] == "ostree"
}

// hold writes an object without giving it a place in the tree.
func (r *reader) hold(h *tar.Header, path []string, o owner, source io.Reader) error {
	written, err := r.write(h, unlabeled, o, source)
	if err != nil {
		return err
	}
	r.tree.hold(path, &heldFile{content: written, modified: isModified(h)})
	return nil
}

// holdLink keeps the content of a hard link's target for links to the place that the link has in
// the repository. One whose target the layer doesn't have is an object of the commit below: nothing
// needs it.
func (r *reader) holdLink(path, target []string) {
	c := r.tree.takeHeld(target)
	if n := r.tree.at(target); c == nil && n != nil {
		c = n.content
	}
	if c != nil {
		r.tree.hold(path, &heldFile{content: c})
	}
}

// isDroppable reports whether a hard link stays out of the tree when the layer has no target for
// it.
func (r *reader) isDroppable(h *tar.Header, path, target []string) bool {
	return r.opts.Rules.SysrootLinks && isModified(h) && inRepository(target) && !inRepository(path)
}

// settle settles the hard links when the whole archive is read, and counts what is left out because
// of them.
func (r *reader) settle(ctx context.Context) error {
	kept := func(path []string) bool {
		_, out := r.opts.Rules.filterKey(path)
		return !out
	}
	out, err := r.tree.settleLinks(ctx, kept)
	if err != nil {
		return err
	}
	for _, file := range r.tree.held {
		if file.modified && !file.used {
			out.sysroot++
		}
	}
	for range out.sysroot {
		r.filter(filteredSysroot)
	}
	for range out.special {
		r.filter(FilteredSpecial)
	}
	return nil
}
