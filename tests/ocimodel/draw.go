package ocimodel

import "strings"

var (
	names      = []string{"a", "b", "c", "lib", "x+1", "d"}
	oddNames   = []string{"grün", "日本語", " space ", "new\nline", "-dash", "..dots", "*", "\\back", "_", "wh.x", "😀"}
	modes      = []uint32{0o644, 0o600, 0o755, 0o444, 0o000, 0o4755, 0o2711, 0o6750, 0o1777, 0o200, 0o777}
	owners     = []int{0, 0, 0, 1, 5, 1000, 65534, 70000, 2097152}
	xattrNames = []string{"user.a", "user.b", "user.long." + "namenamename", "trusted.overlay.x", "trusted.z", "security.capability"}
)

// A capability set as the kernel takes it, for the one xattr whose value it checks: cap_net_raw+ep.
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func (g *generator) name() string {
	switch {
	case g.chance(12):
		return pick(g, oddNames)
	case g.chance(30):
		return strings.Repeat(pick(g, []string{"n", "long-"}), 60)[:58+g.IntN(3)] + strings.Repeat("é", 95+g.IntN(3))
	}
	return pick(g, names)
}

// path draws a path: one that is known, one beside or below such, or a new one.
func (g *generator) path() string {
	if len(g.known) > 0 {
		switch path := pick(g, g.known); g.IntN(6) {
		case 0, 1:
			return path
		case 2, 3:
			if strings.Count(path, "/") < 6 && path != "" {
				return join(path, g.name())
			}
		}
	}
	path := pick(g, g.tops)
	for range g.IntN(4) {
		path = join(path, g.name())
	}
	return path
}

// entry draws an entry, one time in a while where a marker of the same layer hides something.
func (g *generator) entry(markers []Entry) Entry {
	e := Entry{Path: g.path(), Mode: pick(g, modes), UID: pick(g, owners), GID: pick(g, owners)}
	if len(markers) > 0 && g.chance(6) {
		dir, name := split(pick(g, markers).Path)
		if name != opaqueMarker {
			e.Path = join(dir, strings.TrimPrefix(name, whiteoutPrefix))
		}
	}
	switch n := g.IntN(20); {
	case n < 6:
		e.Type = Dir
		e.Mode |= 0o700
	case n < 13:
		e.Type, e.Content = File, g.content()
	case n < 17:
		e.Type, e.Link = Symlink, g.target(e.Path)
		if g.chance(15) {
			e.Path, e.Link = "etc", pick(g, []string{"usr/etc", "/usr/etc", "./usr/lib/../etc"})
		}
	default:
		e.Type, e.Link = HardLink, g.path()
	}
	e.Xattrs = g.xattrs(e.Type)
	return e
}

// target draws the target of a symbolic link: mostly somewhere in the image, relative or absolute.
func (g *generator) target(path string) string {
	dir, _ := split(path)
	switch g.IntN(7) {
	case 6:
		return strings.Repeat("../", strings.Count(dir, "/")) + g.path() + "/../" + g.name()
	case 0:
		return g.name()
	case 1:
		if target := strings.Repeat("../", g.IntN(4)) + g.path(); target != "" {
			return target
		}
	case 2:
		if dir != "" {
			return strings.Repeat("../", strings.Count(dir, "/")+1) + g.path()
		}
	case 3:
		return "nowhere/" + strings.Repeat("far/", g.IntN(60)) + "away"
	}
	return "/" + g.path()
}

func (g *generator) content() []byte {
	size := g.IntN(200)
	switch {
	case g.chance(8):
		size = 0
	case g.chance(8):
		size = g.IntN(100_000)
	case g.chance(300):
		size = 1<<20 + g.IntN(1<<18)
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte('a' + g.IntN(3))
	}
	return b
}

func (g *generator) xattrs(t Type) map[string]string {
	if t == HardLink || !g.chance(4) {
		return nil
	}
	x := map[string]string{}
	for range 1 + g.IntN(4) {
		name := pick(g, xattrNames)
		if t == Symlink && !strings.HasPrefix(name, "trusted.") || t == Dir && name == "security.capability" {
			continue
		}
		x[name] = strings.Repeat(g.name(), g.IntN(3)) + "\x00\xff"
		if name == "security.capability" {
			x[name] = capability
		}
	}
	if !g.opts.Portable && g.chance(6) {
		x["security.selinux"] = "system_u:object_r:usr_t:s0\x00"
	}
	if len(x) == 0 {
		return nil
	}
	return x
}
