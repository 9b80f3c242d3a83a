package layertree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Source reads objects of a repository.
type Source interface {
	ostreerepo.Trees
	OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error)
}

// Tree is the tree of a layer, in the image's own paths. Its methods may not be called by several
// goroutines at once.
type Tree struct {
	// Root is the root directory. Read it by DirTree.
	Root objects.TreeDir
	// Implied has the paths of the directories that the layer's archive doesn't list.
	Implied map[string]bool

	source  Source
	changed map[objects.Checksum]objects.DirTree
	hidden  map[string]objects.Checksum // by name: the archive of more entries and its contents
	more    bool                        // the layer has an archive of more entries
}

// Open reads the tree of a layer's commit that was made by some path rules. Errors: those of
// source, and others for metadata that makes no sense.
func Open(source Source, c objects.Commit, rules layertar.Rules) (*Tree, error) {
	t := &Tree{source: source, changed: map[objects.Checksum]objects.DirTree{}, hidden: map[string]objects.Checksum{}}
	own, err := stringsOf(c, layertar.MetaOwn)
	if err != nil {
		return nil, err
	}
	implied, err := stringsOf(c, layertar.MetaImplied)
	if err != nil {
		return nil, err
	}
	_, t.more = c.Metadata[layertar.MetaMore]
	u := &unplacing{Tree: t, root: &node{tree: c.Tree, meta: c.Meta}, moved: rules.Moved(), own: newPathSet(own)}
	t.Implied = u.implied(implied)
	if err := u.all(own); err != nil {
		return nil, err
	}
	t.Root = objects.TreeDir{Tree: u.freeze(u.root), Meta: c.Meta}
	return t, nil
}

// stringsOf reads a list of strings of a commit's metadata.
func stringsOf(c objects.Commit, key string) ([]string, error) {
	v, ok := c.Metadata[key]
	if !ok {
		return nil, nil
	}
	list, ok := v.AsStrings()
	if !ok {
		return nil, fmt.Errorf("metadata %s has type %q, want \"as\"", key, v.Type)
	}
	return list, nil
}

// DirTree reads a directory of the tree or of the source.
func (t *Tree) DirTree(c objects.Checksum) (objects.DirTree, error) {
	if d, ok := t.changed[c]; ok {
		return d, nil
	}
	return t.source.DirTree(c)
}

// Changed reports whether a directory is made here, and may not be in the repository.
func (t *Tree) Changed(c objects.Checksum) bool {
	_, ok := t.changed[c]
	return ok
}

// More visits the entries of the layer that its tree doesn't hold, in the order of the archive. An
// error of visit is returned as it is.
func (t *Tree) More(ctx context.Context, visit func(layertar.Entry) error) error {
	if !t.more {
		return nil
	}
	file, ok := t.hidden[layertar.MoreName]
	if !ok {
		return fmt.Errorf("the commit has no file %s, which its metadata name", layertar.MoreName)
	}
	_, r, err := t.source.OpenFile(file)
	if err != nil {
		return err
	}
	return errors.Join(layertar.ReadMore(ctx, r, visit), r.Close())
}

// Object gives the file that an entry of More is, but for its label.
func (t *Tree) Object(e layertar.Entry) (objects.Checksum, error) {
	c, ok := t.hidden[e.Object]
	if !ok {
		return c, fmt.Errorf("the commit has no file %.200q, which its archive of more entries names", e.Object)
	}
	return c, nil
}

// pathSet is a set of paths. No path of it is below another one.
type pathSet struct {
	whole bool
	below map[string]*pathSet
}

func newPathSet(paths []string) *pathSet {
	set := &pathSet{}
	for _, path := range paths {
		at := set
		for name := range strings.SplitSeq(path, "/") {
			if at.below == nil {
				at.below = map[string]*pathSet{}
			}
			if at.below[name] == nil {
				at.below[name] = &pathSet{}
			}
			at = at.below[name]
		}
		at.whole = true
	}
	return set
}

// covers reports whether the set has the path or one above it.
func (s *pathSet) covers(path string) bool {
	for name := range strings.SplitSeq(path, "/") {
		if s = s.below[name]; s == nil || s.whole {
			return s != nil
		}
	}
	return false
}

// sortedTops gives the top levels that the rules move, in order.
func sortedTops(moved map[string]string) []string {
	tops := make([]string, 0, len(moved))
	for top := range moved {
		tops = append(tops, top)
	}
	slices.Sort(tops)
	return tops
}
