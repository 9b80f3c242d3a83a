package check

import (
	"context"
	"iter"
	"maps"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Damage is an object that is missing or damaged, or could not be read, and a path in the commit
// that needs it.
type Damage struct {
	Path    string // absolute; "" for the commit itself
	Object  Object
	Problem string
	// NotChecked says that the object could not be read, for the reason in Problem. It may be good.
	NotChecked bool
}

// AllBad gives the objects with which something is wrong, and what, after Run, in no order.
func (c *Checker) AllBad() iter.Seq2[Object, string] { return maps.All(c.bad) }

// Damage lists what is wrong with a commit that was added, after Run: each object that is bad or
// could not be read once, at the first of its paths.
func (c *Checker) Damage(ctx context.Context, commit objects.Checksum) ([]Damage, error) {
	if len(c.bad)+len(c.unread) == 0 {
		return nil, nil
	}
	l := &lister{ctx: ctx, checker: c, listed: map[Object]bool{}}
	if !l.note("", Object{commit, objects.KindCommit}) {
		return l.damage, nil
	}
	l.note("", Object{commit, objects.KindCommitMeta})
	object, err := c.repo.Commit(commit)
	if err != nil {
		return nil, err
	}
	return l.damage, l.dir("/", objects.TreeDir{Tree: object.Tree, Meta: object.Meta})
}

type lister struct {
	ctx     context.Context // of the one call that this value lives for
	checker *Checker
	listed  map[Object]bool
	clean   map[objects.Checksum]bool
	damage  []Damage
}

// note lists an object if it is bad, and tells whether it can be read.
func (l *lister) note(path string, o Object) bool {
	problem, bad := l.checker.bad[o]
	if !bad {
		problem = l.checker.unread[o]
	}
	if problem == "" {
		return true
	}
	if !l.listed[o] {
		l.listed[o] = true
		l.damage = append(l.damage, Damage{Path: path, Object: o, Problem: problem, NotChecked: !bad})
	}
	// Of an incomplete commit the object is there.
	return bad && o.Kind == objects.KindCommit && l.checker.repo.IsPartial(o.Checksum) && l.checker.repo.Has(o.Kind, o.Checksum)
}

func (l *lister) dir(path string, dir objects.TreeDir) error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	before := len(l.damage)
	l.note(path, Object{dir.Meta, objects.KindDirMeta})
	if l.clean[dir.Tree] || !l.note(path, Object{dir.Tree, objects.KindDirTree}) {
		return nil
	}
	tree, err := l.checker.repo.DirTree(dir.Tree)
	if err != nil {
		return err
	}
	prefix := path
	if path != "/" {
		prefix += "/"
	}
	for _, f := range tree.Files {
		l.note(prefix+f.Name, Object{f.Checksum, objects.KindFile})
	}
	for _, d := range tree.Dirs {
		if err := l.dir(prefix+d.Name, d); err != nil {
			return err
		}
	}
	if len(l.damage) == before {
		if l.clean == nil {
			l.clean = map[objects.Checksum]bool{}
		}
		l.clean[dir.Tree] = true
	}
	return nil
}
