package ocimodel

import (
	"maps"
	"slices"
	"strings"
)

// checker finds entries whose meaning depends on who reads the archive. Generate leaves them out.
//
// The image specification describes a layer both as a set of changes and as an archive that is
// unpacked in order, and the two differ when one layer contradicts itself: when a path stops being
// a directory and becomes one again, when one file is written both directly and through a symbolic
// link, when a link is replaced after something went through it, or when a directory that only this
// layer implies is also one that its markers speak of. Apart from those, the checker leaves out
// what an OSTree commit can't hold: a non-directory where the commit keeps /etc or /var, and usr
// only implied in a commit that needs it for them.
type checker struct {
	portable bool
	before   *tree // of the lower layers
	hidden   *tree // the same with the layer's markers obeyed
	u        *unpacking
	marked   []string          // directories with markers, as written
	nondirs  map[string]bool   // real paths that the layer wrote as non-directories
	written  map[string]string // real path → path as written
	used     map[string]bool   // real paths on the way of an entry that went through a link
	claims   map[string]string // real directory that was reached through a link → as written
	pinned   []string          // paths of and targets of hard links that come before their targets
}

func newChecker(before *tree, markers []Entry, opts GenerateOptions) (*checker, error) {
	c := &checker{
		portable: opts.Portable, before: before, hidden: before.clone(),
		nondirs: map[string]bool{}, written: map[string]string{}, used: map[string]bool{}, claims: map[string]string{},
	}
	if err := c.hidden.apply(Layer{Entries: markers}); err != nil {
		return nil, err
	}
	for _, e := range markers {
		dir, _ := split(e.Path)
		c.marked = append(c.marked, dir)
	}
	c.u = &unpacking{tree: c.hidden.clone(), before: before, written: map[string]bool{}}
	return c, nil
}

// take adds the entry to the layer if its meaning is clear. later are the candidates that follow.
func (c *checker) take(e Entry, later []Entry) bool {
	if e.Path == "" {
		return e.Type == Dir && c.u.add(e) == nil
	}
	dir, name := split(e.Path)
	r, err := c.u.tree.route(dir)
	if err != nil {
		return false
	}
	real := join(r.real, name)
	made := c.becomesDir(r.real)
	if e.Type == Dir {
		made = append(made, real)
	}
	ok := c.fits(e, real) && c.keepsDirs(made, e, real) && c.heedsMarkers(e, r, real, made) && c.keepsLinks(e, real) &&
		c.keepsPinned(e, real, made) && (len(r.links) == 0 || c.mayFollow(r, dir))
	if !ok || e.Type == HardLink && !c.hasTarget(e, r, later) {
		return false
	}
	if len(r.links) > 0 {
		claim := r.real
		for _, p := range slices.Backward(made) {
			if p != real {
				claim = p
			}
		}
		c.claims[claim] = dir
		for _, p := range r.visited {
			c.used[p] = true
		}
	}
	if err := c.u.add(e); err != nil {
		return false
	}
	c.written[real] = e.Path
	c.nondirs[real] = c.nondirs[real] || e.Type != Dir
	return true
}

// becomesDir lists the directories that have to be made for real to be one, the topmost first.
func (c *checker) becomesDir(real string) []string {
	var made []string
	for p := real; p != ""; p, _ = split(p) {
		if found := c.u.tree.at(p); found == nil || found.Type != Dir {
			made = append(made, p)
		}
	}
	slices.Reverse(made)
	return made
}

var (
	// fixedDirs are directories at which, or in which, a commit holds top levels of the image.
	fixedDirs = append([]string{"usr", "usr/share", "usr/share/factory", "etc", "var"}, volatileTops...)
	// required are the directories that must exist for a commit to have a top level.
	required = map[string]string{"etc": "usr", "var": "usr/share/factory"}
)

// fits tells whether a commit can hold the entry.
func (c *checker) fits(e Entry, real string) bool {
	if e.Type != Dir && slices.Contains(fixedDirs, real) && !c.isLinkToPlace(e, real) {
		return false
	}
	for _, path := range []string{real, e.Path} {
		top, _, _ := strings.Cut(path, "/")
		if need, ok := required[top]; ok && c.u.tree.at(need) == nil {
			return false
		}
	}
	return true
}

// isLinkToPlace tells whether the entry makes etc a symbolic link to the directory where a commit
// has the files of etc.
func (c *checker) isLinkToPlace(e Entry, real string) bool {
	if e.Type != Symlink || real != "etc" || c.u.tree.at("etc") != nil && c.u.tree.at("etc").Type == Dir {
		return false
	}
	r, err := c.u.tree.route(e.Link)
	found := c.u.tree.at(r.real)
	return err == nil && r.real == "usr/etc" && found != nil && found.Type == Dir
}

// keepsDirs refuses what makes a directory of a path that the layer wrote as something else over
// something of a lower layer.
func (c *checker) keepsDirs(made []string, e Entry, real string) bool {
	for _, p := range made {
		if c.nondirs[p] && (c.hidden.at(p) != nil || c.portable) {
			return false
		}
		implied := p != real || e.Type != Dir
		if implied && (p == "usr" || p == "usr/share") {
			return false
		}
		if implied && c.portable && (c.u.tree.at(p) != nil || c.inheritsGroup(p)) {
			return false
		}
	}
	return true
}

// inheritsGroup tells whether a file system would pass the setgid bit on to a directory that is
// made at p.
func (c *checker) inheritsGroup(p string) bool {
	dir, _ := split(p)
	parent := c.u.tree.at(dir)
	return parent != nil && parent.Mode&0o2000 != 0
}

// heedsMarkers refuses entries at or above directories with markers when what those hide depends on
// the entry. A file there is clear: the markers are about the directory that it replaces.
func (c *checker) heedsMarkers(e Entry, r route, real string, made []string) bool {
	for _, dir := range c.marked {
		if len(made) > 0 && slices.ContainsFunc(r.links, func(link string) bool { return within(dir, link) }) {
			return false
		}
		for _, p := range []string{e.Path, real} {
			lower := c.before.at(p)
			if within(dir, p) && (e.Type == Symlink || e.Type == HardLink || lower != nil && lower.Type != Dir) {
				return false
			}
		}
		for _, p := range made {
			if within(dir, p) && (p != real || e.Type != Dir) {
				return false
			}
		}
	}
	return true
}

// keepsLinks refuses what changes, or writes beside, a way that an earlier entry took through a
// link.
func (c *checker) keepsLinks(e Entry, real string) bool {
	if c.used[real] {
		if found := c.u.tree.at(real); e.Type != Dir || found != nil && found.Type == Symlink {
			return false
		}
	}
	for claim, dir := range c.claims {
		if within(real, claim) && !within(e.Path, dir) || within(claim, real) && e.Type != Dir {
			return false
		}
	}
	return true
}

// mayFollow tells whether an entry may be written through the links of a route.
func (c *checker) mayFollow(r route, dir string) bool {
	top, _, _ := strings.Cut(r.real, "/")
	if d := c.u.tree.at(top); r.real == "" || d == nil || d.Type != Dir {
		return false
	}
	for _, link := range r.links {
		top, _, _ := strings.Cut(link, "/")
		if slices.Contains(volatileTops, top) {
			return false
		}
		if as, ok := c.written[link]; ok && as != link {
			return false
		}
	}
	made := append(c.becomesDir(r.real), r.real)
	for real, as := range c.written {
		if within(real, made[0]) && !within(as, dir) {
			return false
		}
	}
	return !c.portable || len(c.becomesDir(r.real)) == 0
}

// hasTarget tells whether a hard link's target is a file or symbolic link of the layer, before it
// or among later ones, or of the lower layers.
func (c *checker) hasTarget(e Entry, r route, later []Entry) bool {
	if within(e.Link, e.Path) {
		return false
	}
	if as, ok := c.written[e.Link]; ok && c.u.written[e.Link] {
		found := c.u.tree.at(e.Link)
		return as == e.Link && found != nil && found.Type != Dir
	}
	if c.u.written[e.Link] {
		return false
	}
	if c.isLowerFile(e, r) {
		return true
	}
	parent := c.u.tree.at(r.real)
	if c.portable || len(r.links) > 0 || parent == nil || parent.Type != Dir {
		return false
	}
	if found := c.u.tree.at(e.Path); found != nil && (found.Type == Dir || c.u.written[e.Path]) {
		return false
	}
	if found := c.u.tree.at(e.Link); found != nil && found.Type == Dir {
		return false
	}
	if slices.Contains(c.pinned, e.Link) || slices.Contains(c.pinned, e.Path) {
		return false
	}
	count := func(path string) (n int, last Entry) {
		for _, l := range later {
			if l.Path == path {
				n, last = n+1, l
			}
		}
		return n, last
	}
	n, target := count(e.Link)
	again, _ := count(e.Path)
	if n != 1 || again > 0 || target.Type == Dir {
		return false
	}
	c.pinned = append(c.pinned, e.Path, e.Link)
	return true
}

// isLowerFile tells whether a hard link leads to a file or symbolic link of the lower layers which
// nothing of this layer has replaced or taken the way to. A marker may have hidden it, but not
// where the runtime obeys markers at their turn in the archive.
func (c *checker) isLowerFile(e Entry, r route) bool {
	lower, now := c.before.at(e.Link), c.u.tree.at(e.Link)
	if lower == nil || lower.Type == Dir || len(r.links) > 0 || within(e.Link, e.Path) {
		return false
	}
	if top, _, _ := strings.Cut(e.Link, "/"); slices.Contains(volatileTops, top) {
		return false
	}
	if now == nil {
		return !c.portable && c.hidden.at(e.Link) == nil && len(c.becomesDir(e.Link)) > 0 && c.stillHidden(e.Link)
	}
	return now.Node.Equal(lower.Node)
}

// stillHidden tells whether everything on the way to a path that a marker hides is as the markers
// left it.
func (c *checker) stillHidden(path string) bool {
	for p := path; p != ""; p, _ = split(p) {
		if c.u.written[p] {
			return false
		}
	}
	return true
}

// keepsPinned refuses what would replace, or replace the parents of, a hard link that waits for its
// target.
func (c *checker) keepsPinned(e Entry, real string, made []string) bool {
	for _, p := range c.pinned {
		first := real == p && !c.u.written[p] && e.Path == p && e.Type != Dir
		if !first && (within(p, real) && e.Type != Dir || slices.Contains(made, p)) {
			return false
		}
	}
	return true
}

// waiting tells whether hard links are left without a target.
func (c *checker) waiting() []Entry {
	trial := &unpacking{tree: c.u.tree.clone(), written: maps.Clone(c.u.written), pending: slices.Clone(c.u.pending)}
	if trial.finish() == nil {
		return nil
	}
	return trial.pending
}
