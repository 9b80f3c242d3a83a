package check

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"syscall"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Object names an object as `ostree fsck` does.
type Object struct {
	Checksum objects.Checksum
	Kind     objects.Kind
}

// String is the checksum, a dot and the kind.
func (o Object) String() string { return o.Checksum.String() + "." + string(o.Kind) }

// Incomplete is what is wrong with a commit whose object is good.
const Incomplete = "ostree knows that it is incomplete"

// Checker checks commits of one repository. Its methods are called one after the other.
type Checker struct {
	repo   *ostreerepo.Repo
	bad    map[Object]string // what is wrong
	unread map[Object]string // why it could not be read, which says nothing about the object
	seen   map[Object]bool
	files  []objects.Checksum // to be verified
	bytes  atomic.Uint64
}

// New returns a Checker that has seen nothing yet.
func New(repo *ostreerepo.Repo) *Checker {
	return &Checker{repo: repo, bad: map[Object]string{}, unread: map[Object]string{}, seen: map[Object]bool{}}
}

// Objects is how many different objects were looked at.
func (c *Checker) Objects() uint64 { return uint64(len(c.seen)) }

// Bytes is how many bytes of file contents were read.
func (c *Checker) Bytes() uint64 { return c.bytes.Load() }

// Add has a commit and all that it reaches, other than its ancestors, looked at. What is missing,
// damaged or can't be read is no error.
func (c *Checker) Add(ctx context.Context, commit objects.Checksum) error {
	object, ok, err := read(c, objects.KindCommit, commit, c.repo.Commit)
	if err != nil || !ok {
		return err
	}
	if err := c.note(Object{commit, objects.KindCommitMeta}, c.detached(commit)); err != nil {
		return err
	}
	if c.repo.IsPartial(commit) {
		c.bad[Object{commit, objects.KindCommit}] = Incomplete
	}
	return c.addDir(ctx, objects.TreeDir{Tree: object.Tree, Meta: object.Meta})
}

// detached reads the detached metadata of a commit, which need not be there.
func (c *Checker) detached(commit objects.Checksum) error {
	_, err := c.repo.Detached(commit)
	if errors.Is(err, ostreerepo.ErrNoObject) {
		return nil
	}
	return err
}

func (c *Checker) addDir(ctx context.Context, dir objects.TreeDir) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if _, _, err := read(c, objects.KindDirMeta, dir.Meta, c.repo.DirMeta); err != nil {
		return err
	}
	tree, ok, err := read(c, objects.KindDirTree, dir.Tree, c.repo.DirTree)
	if err != nil || !ok {
		return err
	}
	for _, f := range tree.Files {
		if o := (Object{f.Checksum, objects.KindFile}); !c.seen[o] {
			c.seen[o] = true
			c.files = append(c.files, f.Checksum)
		}
	}
	for _, d := range tree.Dirs {
		if err := c.addDir(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// read reads a metadata object that was not seen before; ok is false for one that was, or that is
// bad.
func read[T any](c *Checker, kind objects.Kind, sum objects.Checksum, from func(objects.Checksum) (T, error)) (v T, ok bool, err error) {
	o := Object{sum, kind}
	if c.seen[o] {
		return v, false, nil
	}
	c.seen[o] = true
	v, err = from(sum)
	return v, err == nil, c.note(o, err)
}

// note keeps what the error of reading an object says about it. It returns errors that are about
// the whole work.
func (c *Checker) note(o Object, err error) error {
	problem, bad := problemOf(err)
	switch {
	case bad:
		c.bad[o] = problem
	case NotChecked(err):
		c.unread[o] = err.Error()
	default:
		return err
	}
	return nil
}

// NotChecked reports whether an error is that of a system call which failed for reasons of the
// machine or the caller, such as too few descriptors, missing rights or a full disk: what was to be
// checked may be good or damaged.
func NotChecked(err error) bool {
	var number syscall.Errno
	_, bad := problemOf(err)
	return !bad && errors.As(err, &number)
}

// problemOf tells damage, which is an object's, from other errors.
func problemOf(err error) (problem string, bad bool) {
	switch {
	case err == nil:
		return "", false
	case errors.Is(err, ostreerepo.ErrNoObject):
		return "it is missing", true
	case errors.Is(err, ostreerepo.ErrCorrupted):
		return "its content is not what its name says", true
	case errors.Is(err, unix.EIO), errors.Is(err, unix.EUCLEAN), errors.Is(err, unix.EBADMSG):
		return "the disk can't read it", true
	case errors.Is(err, unix.ENXIO), errors.Is(err, unix.ENODEV):
		return "it is no file", true
	}
	return "", false
}

// Run verifies the files that Add has found, several at a time. progress, which may be nil, is told
// how many are done of how many, by one goroutine at a time.
func (c *Checker) Run(ctx context.Context, progress func(done, total int)) error {
	workers := min(4, runtime.GOMAXPROCS(0))
	found := make([]error, len(c.files))
	var next, done atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for worker := range workers {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(c.files) {
					return nil
				}
				if err := ctx.Err(); err != nil {
					return context.Cause(ctx)
				}
				found[i] = c.file(c.files[i])
				if n := done.Add(1); worker == 0 && progress != nil {
					progress(int(n), len(c.files))
				}
			}
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, err := range found {
		o := Object{c.files[i], objects.KindFile}
		if err := c.note(o, err); err != nil {
			return fmt.Errorf("read the object %s: %w", o, err)
		}
	}
	c.files = nil
	return nil
}

// file reads a file to its end, where its checksum is verified.
func (c *Checker) file(sum objects.Checksum) error {
	_, content, err := c.repo.OpenFile(sum)
	if err != nil {
		return err
	}
	n, err := io.Copy(io.Discard, content)
	c.bytes.Add(uint64(n))
	content.Close() // it was only read
	return err
}
