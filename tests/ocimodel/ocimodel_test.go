package ocimodel

import (
	"maps"
	"reflect"
	"strings"
	"testing"
)

func dir(path string) Entry { return Entry{Path: path, Type: Dir, Mode: 0o755} }
func file(path, content string) Entry {
	return Entry{Path: path, Type: File, Mode: 0o644, Content: []byte(content)}
}
func link(path, target string) Entry { return Entry{Path: path, Type: Symlink, Link: target} }
func hard(path, target string) Entry { return Entry{Path: path, Type: HardLink, Link: target} }
func marker(path string) Entry       { return Entry{Path: path, Type: File, Mode: 0o644} }

// Each rule of the image specification by itself.
func TestUnpack(t *testing.T) {
	lower := Layer{Entries: []Entry{dir("d"), file("d/x", "1"), file("d/y", "1"), file("f", "1"), link("l", "d")}}
	for _, test := range []struct {
		name  string
		upper []Entry
		want  string // paths with the contents of files, the root left out
	}{
		{"an empty layer changes nothing", nil, "d/ d/x=1 d/y=1 f=1 l->d"},
		{"a file is replaced", []Entry{file("d/x", "2")}, "d/ d/x=2 d/y=1 f=1 l->d"},
		{"a whiteout hides a file", []Entry{marker("d/.wh.x")}, "d/ d/y=1 f=1 l->d"},
		{"a whiteout hides a directory", []Entry{marker(".wh.d")}, "f=1 l->d"},
		{"a whiteout of nothing hides nothing", []Entry{marker("d/.wh.z"), marker("n/.wh.z")}, "d/ d/x=1 d/y=1 f=1 l->d"},
		{"an opaque marker hides what is below", []Entry{marker("d/.wh..wh..opq")}, "d/ f=1 l->d"},
		{"markers spare entries before them", []Entry{file("d/x", "2"), marker("d/.wh.x"), marker("d/.wh..wh..opq")}, "d/ d/x=2 f=1 l->d"},
		{"markers spare entries after them", []Entry{marker("d/.wh.x"), marker("d/.wh..wh..opq"), file("d/x", "2")}, "d/ d/x=2 f=1 l->d"},
		{"a file replaces a directory", []Entry{file("d", "2")}, "d=2 f=1 l->d"},
		{"a directory replaces a file", []Entry{dir("f"), file("f/x", "2")}, "d/ d/x=1 d/y=1 f/ f/x=2 l->d"},
		{"a directory keeps what it has", []Entry{dir("d")}, "d/ d/x=1 d/y=1 f=1 l->d"},
		{"a listed directory replaces a link", []Entry{dir("l"), file("l/x", "2")}, "d/ d/x=1 d/y=1 f=1 l/ l/x=2"},
		{"an implied parent follows a link", []Entry{file("l/x", "2")}, "d/ d/x=2 d/y=1 f=1 l->d"},
		{"a marker follows a link", []Entry{marker("l/.wh.x")}, "d/ d/y=1 f=1 l->d"},
		{"links stay inside the root", []Entry{link("m", "../../d"), file("m/x", "2")}, "d/ d/x=2 d/y=1 f=1 l->d m->../../d"},
		{"the last of several entries counts", []Entry{file("n", "2"), dir("n"), file("n", "3")}, "d/ d/x=1 d/y=1 f=1 l->d n=3"},
		{"a hard link to an earlier entry", []Entry{file("n", "2"), hard("m", "n"), file("n", "3")}, "d/ d/x=1 d/y=1 f=1 l->d m=2 n=3"},
		{"a hard link to a file of a lower layer", []Entry{hard("m", "d/x"), marker("d/.wh.x"), file("d/y", "2"), hard("n", "d/y")}, "d/ d/y=2 f=1 l->d m=1 n=2"},
		{"a hard link to a file of a lower layer that is replaced later", []Entry{hard("m", "f"), file("f", "2")}, "d/ d/x=1 d/y=1 f=2 l->d m=1"},
		{"a chain of hard links to a later entry", []Entry{hard("p", "m"), hard("m", "n"), file("n", "2")}, "d/ d/x=1 d/y=1 f=1 l->d m=2 n=2 p=2"},
	} {
		t.Run(test.name, func(t *testing.T) {
			nodes, err := Unpack(Image{Layers: []Layer{lower, {Entries: test.upper}}})
			if err != nil {
				t.Fatal(err)
			}
			if got := sketch(nodes); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestHardLinkToNowhere(t *testing.T) {
	lower, upper := Layer{Entries: []Entry{file("f", "1"), dir("d")}}, Layer{Entries: []Entry{hard("h", "d")}}
	if _, err := Unpack(Image{Layers: []Layer{lower, upper}}); err == nil {
		t.Error("a hard link to a directory is unpacked")
	}
}

func TestImpliedDirectories(t *testing.T) {
	owned := file("a/b/f", "1")
	owned.UID, owned.GID = 5, 6
	later := file("a/g", "1")
	later.UID = 7
	img := Image{Layers: []Layer{{Entries: []Entry{owned, later}}}}
	nodes, err := Unpack(img)
	if err != nil {
		t.Fatal(err)
	}
	want := Node{Type: Dir, Mode: 0o755}
	for _, path := range []string{"a", "a/b"} {
		if !nodes[path].Equal(want) {
			t.Errorf("%s is %s, want %s", path, nodes[path], want)
		}
	}
}

func TestFlatten(t *testing.T) {
	img := Image{Layers: []Layer{
		{Entries: []Entry{dir("usr"), file("etc/f", "1"), file("var/f", "1"), dir("run"), file("run/f", "1"), file("tmp/f", "1"), file("opt/f", "1")}},
		{Entries: []Entry{marker(".wh.usr")}},
	}}
	for _, test := range []struct {
		rules Rules
		want  string
	}{
		{Rules{}, "opt/ opt/f=1 run/ usr/ usr/etc/ usr/etc/f=1 var/ var/f=1"},
		{Rules{FactoryVar: true}, "opt/ opt/f=1 run/ usr/ usr/etc/ usr/etc/f=1 usr/share/ usr/share/factory/ usr/share/factory/var/ usr/share/factory/var/f=1"},
	} {
		nodes, err := Flatten(img, test.rules)
		if err != nil {
			t.Fatal(err)
		}
		if got := sketch(nodes); got != test.want {
			t.Errorf("%+v:\ngot  %s\nwant %s", test.rules, got, test.want)
		}
	}
}

// sketch writes a tree as one line.
func sketch(nodes map[string]Node) string {
	var parts []string
	for _, path := range Paths(nodes)[1:] {
		switch n := nodes[path]; n.Type {
		case Dir:
			path += "/"
		case File:
			path += "=" + string(n.Content)
		case Symlink:
			path += "->" + n.Target
		}
		parts = append(parts, path)
	}
	return strings.Join(parts, " ")
}

// A seed is an image, once and for all.
func TestGenerateIsDeterministic(t *testing.T) {
	for seed := range uint64(20) {
		one, other := Generate(seed, GenerateOptions{}), Generate(seed, GenerateOptions{})
		if !reflect.DeepEqual(one, other) {
			t.Errorf("seed %d is two images", seed)
		}
	}
}

// What the random images are there for does occur in them.
func TestGenerateCoversTheRules(t *testing.T) {
	seen := map[string]int{}
	for seed := range uint64(200) {
		lower := newTree(Node{Type: Dir, Mode: 0o755})
		for _, l := range Generate(seed, GenerateOptions{}).Layers {
			for feature := range features(l, lower) {
				seen[feature]++
			}
			if err := lower.apply(l); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
		}
	}
	for _, feature := range []string{
		"empty layer", "whiteout", "opaque", "whiteout and entry", "marker last", "through a link", "directory to other",
		"other to directory", "hard link", "later target", "xattrs", "special mode bits", "long name", "long path", "repeated path",
		"implied parent", "directory again", "etc", "var", "run", "hidden from usr",
		"etc and usr/etc", "marker in usr/etc", "etc is a link", "link to a lower layer", "up from a name", "long whiteout",
	} {
		if seen[feature] == 0 {
			t.Errorf("200 images have no case of %q: %v", feature, seen)
		}
	}
}

func features(l Layer, lower *tree) map[string]bool {
	has, at := map[string]bool{"empty layer": len(l.Entries) == 0}, map[string]bool{}
	for i, e := range l.Entries {
		dir, name := split(e.Path)
		r, err := lower.route(dir)
		old := lower.at(e.Path)
		has["opaque"] = has["opaque"] || name == opaqueMarker
		has["whiteout"] = has["whiteout"] || e.isMarker() && name != opaqueMarker
		has["whiteout and entry"] = has["whiteout and entry"] || at[join(dir, strings.TrimPrefix(name, whiteoutPrefix))] && e.isMarker()
		has["marker last"] = has["marker last"] || e.isMarker() && i == len(l.Entries)-1
		has["through a link"] = has["through a link"] || err == nil && len(r.links) > 0
		has["directory to other"] = has["directory to other"] || old != nil && old.Type == Dir && e.Type != Dir
		has["other to directory"] = has["other to directory"] || old != nil && old.Type != Dir && e.Type == Dir
		has["directory again"] = has["directory again"] || old != nil && old.Type == Dir && e.Type == Dir
		has["hard link"] = has["hard link"] || e.Type == HardLink
		has["later target"] = has["later target"] || e.Type == HardLink && !at[e.Link]
		has["xattrs"] = has["xattrs"] || len(e.Xattrs) > 2
		has["special mode bits"] = has["special mode bits"] || e.Mode > 0o777
		has["long name"] = has["long name"] || len(name) > 240
		has["long path"] = has["long path"] || len(e.Path) > 256
		has["repeated path"] = has["repeated path"] || at[e.Path]
		has["implied parent"] = has["implied parent"] || dir != "" && !at[dir] && lower.at(dir) == nil
		has["hidden from usr"] = has["hidden from usr"] || e.Path == ".wh.usr" || e.Path == "usr/"+opaqueMarker
		has["etc and usr/etc"] = has["etc and usr/etc"] || within(e.Path, "usr/etc") && lower.at("etc") != nil
		has["marker in usr/etc"] = has["marker in usr/etc"] || within(dir, "usr/etc") && e.isMarker()
		has["etc is a link"] = has["etc is a link"] || e.Path == "etc" && e.Type == Symlink
		has["link to a lower layer"] = has["link to a lower layer"] || e.Type == HardLink && !at[e.Link] && lower.at(e.Link) != nil
		has["up from a name"] = has["up from a name"] || e.Type == Symlink && strings.Contains(strings.TrimLeft(e.Link, "./"), "/../")
		has["long whiteout"] = has["long whiteout"] || e.isMarker() && len(name) > 255
		top, _, _ := strings.Cut(e.Path, "/")
		has[top] = true
		at[e.Path] = true
	}
	maps.DeleteFunc(has, func(_ string, present bool) bool { return !present })
	return has
}
