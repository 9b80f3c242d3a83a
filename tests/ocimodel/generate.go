package ocimodel

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// GenerateOptions narrows what Generate draws.
type GenerateOptions struct {
	// Portable leaves out what the runtime that the model is held against doesn't do or does by the
	// order of the archive: hard links before their targets, non-directories as implied parents,
	// links that dangle as parents, and markers after entries.
	Portable bool
}

// Generate draws an image. The same seed and options give the same image.
func Generate(seed uint64, opts GenerateOptions) Image {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 0x6f63696d6f64656c)), opts: opts}
	g.tops = []string{"a", "b", "c", "srv", "bücher"}
	if rules := g.IntN(5) > 0; rules {
		g.tops = append(g.tops, "usr", "usr", "usr", "etc", "etc", "var", "var", "run", "tmp", "proc", "sys", "dev")
		g.tops = append(g.tops, "usr/etc", "usr/etc", "usr/share/factory/var")
		g.first = []string{"usr", "usr/share", "usr/share/factory"}
	}
	var img Image
	t := newTree(Node{Type: Dir, Mode: 0o755})
	for range 1 + g.IntN(5) {
		l := g.layer(t)
		if err := t.apply(l); err != nil {
			panic("a generated layer can't be applied: " + err.Error())
		}
		img.Layers = append(img.Layers, l)
	}
	return img
}

type generator struct {
	*rand.Rand
	opts  GenerateOptions
	tops  []string
	first []string // directories that the first layer lists first
	known []string // paths worth writing to again
}

// chance is true in one of n cases.
func (g *generator) chance(n int) bool { return g.IntN(n) == 0 }

func pick[T any](g *generator, from []T) T { return from[g.IntN(len(from))] }

// layer draws a layer over the tree of the lower ones.
func (g *generator) layer(lower *tree) Layer {
	if g.first == nil && g.chance(12) {
		return Layer{}
	}
	var candidates []Entry
	for _, path := range g.first {
		candidates = append(candidates, Entry{Path: path, Type: Dir, Mode: 0o755})
	}
	g.first = nil
	g.known = slices.Sorted(maps.Keys(lower.nodes()))
	markers := g.markers(lower)
	for range 2 + g.IntN(24) {
		e := g.entry(markers)
		candidates = append(candidates, e)
		g.known = append(g.known, e.Path)
	}
	prefix := pick(g, []string{"", "", "./", "/"})
	entries := g.settle(lower, markers, candidates)
	entries = g.interleave(markers, entries)
	for i := range entries {
		entries[i].Prefix = prefix
		entries[i].GNU = entries[i].Xattrs == nil && g.chance(5)
	}
	return Layer{Entries: entries}
}

// settle leaves out the candidates whose meaning is unclear.
func (g *generator) settle(lower *tree, markers, candidates []Entry) []Entry {
	for {
		c, err := newChecker(lower, markers, g.opts)
		if err != nil {
			panic("generated markers can't be applied: " + err.Error())
		}
		var taken []Entry
		for i, e := range candidates {
			if c.take(e, candidates[i+1:]) {
				taken = append(taken, e)
			}
		}
		waiting := c.waiting()
		if len(waiting) == 0 {
			return taken
		}
		candidates = slices.DeleteFunc(slices.Clone(candidates), func(e Entry) bool {
			return e.Type == HardLink && slices.ContainsFunc(waiting, func(w Entry) bool { return w.Path == e.Path })
		})
	}
}

// interleave puts markers before, after or between the entries.
func (g *generator) interleave(markers, entries []Entry) []Entry {
	style := g.IntN(3)
	switch {
	case g.opts.Portable || style == 0:
		return slices.Concat(markers, entries)
	case style == 1:
		return slices.Concat(entries, markers)
	}
	mixed := slices.Clone(entries)
	for _, m := range markers {
		mixed = slices.Insert(mixed, g.IntN(len(mixed)+1), m)
	}
	return mixed
}

// markers draws whiteouts and opaque markers that hide the same in whatever order they are obeyed.
func (g *generator) markers(lower *tree) []Entry {
	var markers []Entry
	for range g.IntN(5) {
		path := g.path()
		dir, name := split(path)
		if name == "" && !g.chance(3) {
			continue
		}
		marker := join(dir, whiteoutPrefix+name)
		if found := lower.at(path); name == "" || found != nil && found.Type == Dir && g.chance(3) {
			marker, dir = join(path, opaqueMarker), path
		}
		r, err := lower.route(dir)
		if err != nil || len(r.links) > 0 && (g.opts.Portable || slices.ContainsFunc(r.visited, isVolatile)) {
			continue
		}
		if d := lower.at(r.real); g.opts.Portable && (d == nil || d.Type != Dir) {
			continue
		}
		e := Entry{Path: marker, Type: File, Mode: 0o644}
		if !slices.ContainsFunc(markers, func(o Entry) bool { return o.Path == e.Path }) {
			markers = append(markers, e)
		}
	}
	if !orderless(lower, markers) {
		return markers[:1]
	}
	return markers
}

func isVolatile(path string) bool {
	top, _, _ := strings.Cut(path, "/")
	return slices.Contains(volatileTops, top)
}

// orderless tells whether markers hide the same when they are obeyed from the last to the first.
func orderless(lower *tree, markers []Entry) bool {
	reversed := slices.Clone(markers)
	slices.Reverse(reversed)
	one, other := lower.clone(), lower.clone()
	if one.apply(Layer{Entries: markers}) != nil || other.apply(Layer{Entries: reversed}) != nil {
		return false
	}
	return maps.EqualFunc(one.nodes(), other.nodes(), Node.Equal)
}
