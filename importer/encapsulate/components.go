package encapsulate

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode"
)

// Chunking is what the contents of a commit are parted by.
type Chunking string

// The ways of parting.
const (
	ChunkingSingle Chunking = "single" // not at all
	ChunkingRPM    Chunking = "rpm"    // by the packages of the commit's RPM database
	ChunkingDpkg   Chunking = "dpkg"   // by the packages of the commit's dpkg database
	ChunkingMap    Chunking = "map"    // by the components of a ContentMap
	ChunkingSize   Chunking = "size"   // by directories, as far as their sizes ask for it
)

const (
	// kernelDir has kernel, initramfs and modules, which change together.
	kernelDir  = "usr/lib/modules/"
	kernelName = "kernel"
	// unpackagedName is for what is in no package.
	unpackagedName = "unpackaged-content"

	// maxUnit is the size in bytes beyond which what is no package is split.
	maxUnit = 64 << 20
	// maxUnits is how many directories there may be to part by, as they are all listed in the
	// manifest.
	maxUnits = 2048
)

// component is a set of contents that change together. No content is in two.
type component struct {
	name     string
	contents []*content
	size     int64
	changes  int // how often it changed in the last year, as far as that is known
}

func (c *component) add(content *content) {
	c.contents = append(c.contents, content)
	c.size += content.size
}

// packages tells which package contents belong to.
type packages struct {
	tree    *tree
	owner   map[*content]string
	changes map[string]int
	all     bool // the kernel too is what its package is
}

func newPackages(t *tree) *packages {
	return &packages{tree: t, owner: make(map[*content]string), changes: make(map[string]int)}
}

// claim says that a path belongs to a package. Where a content belongs to several, the first by
// name gets it.
func (p *packages) claim(name, file string) {
	if c := p.tree.find(file); c != nil { // else a directory, or something that the commit leaves out
		p.give(name, c)
	}
}

// give says that a content belongs to a package, as claim does of a path.
func (p *packages) give(name string, c *content) {
	if owner, owned := p.owner[c]; !owned || name < owner {
		p.owner[c] = name
	}
}

// errNoDatabase says that a commit has no package database of some kind.
var errNoDatabase = errors.New("no package database")

// components parts the commit's contents, as the options say or by packages. The note says why it
// was not by packages, if there is a reason.
func components(ctx context.Context, t *tree, opts Options) (parts []*component, by Chunking, note string, err error) {
	if opts.Content != nil {
		owners, err := opts.Content.claim(ctx, t)
		if err != nil {
			return nil, "", "", err
		}
		return owners.part(), ChunkingMap, "", nil
	}
	owners, by := newPackages(t), ChunkingSize
	for _, database := range []struct {
		by   Chunking
		read func(context.Context, *tree, Options) (*packages, error)
	}{{ChunkingRPM, readRPM}, {ChunkingDpkg, readDpkg}} {
		found, err := database.read(ctx, t, opts)
		if ctx.Err() != nil {
			return nil, "", "", context.Cause(ctx)
		}
		if err == nil && len(found.owner) == 0 {
			err = errors.New("the commit has none of their files")
		}
		if err == nil {
			owners, by = found, database.by
			break
		}
		if !errors.Is(err, errNoDatabase) {
			note = fmt.Sprintf("the packages of the commit's %s database are not taken into account: %v", database.by, err)
		}
	}
	return owners.part(), by, note, nil
}

// part makes the components: the kernel, a component per package, and what is in no package.
func (p *packages) part() []*component {
	byName := make(map[string]*component)
	var others []*content
	for _, c := range p.tree.sorted() {
		name, owned := p.owner[c]
		if !(p.all && owned) && slices.ContainsFunc(c.paths, func(at string) bool { return strings.HasPrefix(at, kernelDir) }) {
			name, owned = kernelName, true
		}
		if !owned {
			others = append(others, c)
			continue
		}
		clean := cleanName(name)
		if byName[clean] == nil {
			byName[clean] = &component{name: clean, changes: p.changes[name]}
		}
		byName[clean].add(c)
	}
	parts := slices.Collect(maps.Values(byName))
	if len(p.owner) > 0 {
		parts = append(parts, splitLarge(&component{name: unpackagedName, contents: others, size: sizeOf(others)})...)
	} else {
		for _, unit := range byDirectory(others) {
			parts = append(parts, splitLarge(unit)...)
		}
	}
	parts = slices.DeleteFunc(parts, func(c *component) bool { return len(c.contents) == 0 })
	slices.SortFunc(parts, func(a, b *component) int { return cmp.Compare(a.name, b.name) })
	return parts
}

// cleanName makes a name one that can stand in a list of names.
func cleanName(name string) string {
	return strings.Map(func(r rune) rune {
		if r == ',' || unicode.IsControl(r) || r == unicode.ReplacementChar {
			return '_'
		}
		return r
	}, name)
}

func sizeOf(contents []*content) (size int64) {
	for _, c := range contents {
		size += c.size
	}
	return size
}

// byDirectory parts contents by the directory that they are in: as deep as three levels, or less if
// these are too many.
func byDirectory(contents []*content) []*component {
	const levels = 3
	for depth := levels; ; depth-- {
		units := make(map[string]*component)
		for _, c := range contents {
			name := cleanName(unitOf(c.paths[0], depth))
			if units[name] == nil {
				units[name] = &component{name: name}
			}
			units[name].add(c)
		}
		if len(units) <= maxUnits || depth == 0 {
			return slices.Collect(maps.Values(units))
		}
	}
}

// unitOf gives the first components of a file's directory.
func unitOf(file string, depth int) string {
	names := strings.Split(path.Dir(file), "/")
	if names[0] == "." {
		names = nil
	}
	return "/" + strings.Join(names[:min(depth, len(names))], "/")
}

// splitLarge splits a component that is too large, by the paths of its contents, so that a change
// of one file changes one part. The number of parts is a power of two, so that it seldom changes
// with the size.
func splitLarge(c *component) []*component {
	n := uint64(1)
	for c.size/int64(n) > maxUnit && n < 64 {
		n *= 2
	}
	if n == 1 {
		return []*component{c}
	}
	parts := make([]*component, n)
	for i := range parts {
		parts[i] = &component{name: fmt.Sprintf("%s-%d", c.name, i)}
	}
	for _, content := range c.contents {
		parts[hash(content.paths[0])%n].add(content)
	}
	return parts
}

// hash is the same on every host and in every version of this program, unlike that of a map.
func hash(s string) uint64 {
	sum := sha256.Sum256([]byte(s))
	return binary.BigEndian.Uint64(sum[:])
}
