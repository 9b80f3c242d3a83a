package selinux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// XattrName is the extended attribute that holds a label.
const XattrName = "security.selinux"

// ErrUnusable says that a tree has a policy which is switched on but incomplete or not valid, so
// that libostree would refuse it, too.
var ErrUnusable = errors.New("the SELinux policy can't be used")

// Reader reads trees. *ostreerepo.Repo and *ostreerepo.Staging do.
type Reader interface {
	DirTree(c objects.Checksum) (objects.DirTree, error)
	OpenFile(c objects.Checksum) (objects.FileHeader, io.ReadCloser, error)
}

// Policy gives labels. Its methods may be called at the same time by several goroutines. A nil
// Policy is that of a tree without one: its ID is empty, and it has no labels.
type Policy struct {
	id    string
	index *index
	// subs come before dist, and both before the index.
	subs, dist substitutions

	effort  effort
	failure atomic.Pointer[error]
}

// label is a label in the forms that are asked for.
type label struct {
	text  string
	xattr objects.Xattr
}

func newLabel(text string) *label {
	return &label{text: text, xattr: objects.Xattr{Name: XattrName, Value: append([]byte(text), 0)}}
}

// Load reads the policy of the tree whose root is given. It is nil when the tree has none or has it
// disabled. Errors: ErrUnusable, those of trees, and the cause that ctx ended of. What is wrong
// with a policy is said with file and line where there is one.
func Load(ctx context.Context, trees Reader, root objects.Checksum) (*Policy, error) {
	src, err := readSources(ctx, trees, root)
	if err != nil {
		return nil, fmt.Errorf("selinux policy: %w", err)
	}
	if src == nil {
		return nil, nil
	}
	p, err := src.compile(ctx)
	if ctx.Err() != nil {
		return nil, fmt.Errorf("selinux policy: %w", context.Cause(ctx))
	}
	if err != nil {
		return nil, fmt.Errorf("selinux policy: %w", src.unusable(err))
	}
	return p, nil
}

// ID identifies the policy of the tree whose root is given, without compiling it: Policy.ID of what
// Load gives, "" where that is nil. It does not notice what makes a policy unusable except for
// missing files. Errors are those of Load.
func ID(ctx context.Context, trees Reader, root objects.Checksum) (string, error) {
	src, err := readSources(ctx, trees, root)
	if err != nil {
		return "", fmt.Errorf("selinux policy: %w", err)
	}
	if src == nil {
		return "", nil
	}
	return src.id(), nil
}

// ID identifies what decides on labels: two policies with the same ID give the same. It is a
// SHA-256 in hexadecimal digits, of the files' content alone: neither their own labels nor the
// repository's mode matter. It changes, too, when this package labels differently.
func (p *Policy) ID() string {
	if p == nil {
		return ""
	}
	return p.id
}

// Label gives the label of a path in the commit, which must be absolute and clean, without slashes
// that are doubled or at its end except for that of the root. mode includes the file type in its
// S_IFMT bits; without one any specification counts. ok is false for a path that the policy leaves
// without a label.
func (p *Policy) Label(path string, mode uint32) (text string, ok bool) {
	if l := p.find(path, mode); l != nil {
		return l.text, true
	}
	return "", false
}

// Xattr gives the label as the extended attribute that libostree stores: with a NUL at its end. The
// value is shared and must not be changed. It is otherwise like Label.
func (p *Policy) Xattr(path string, mode uint32) (x objects.Xattr, ok bool) {
	if l := p.find(path, mode); l != nil {
		return l.xattr, true
	}
	return objects.Xattr{}, false
}

// Err returns the first error of a look-up, or nil: that a regular expression took too long on a
// path, or all of them for all paths so far. Then look-ups give no labels any more, and those given
// must not be stored. Ask it once all labels are known, or before, to save the rest of the work.
func (p *Policy) Err() error {
	if p == nil {
		return nil
	}
	if err := p.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *Policy) find(path string, mode uint32) *label {
	if p == nil || p.failure.Load() != nil {
		return nil
	}
	if path == "/proc" {
		path = "/mnt"
	}
	s, steps, err := p.index.find(p.dist.apply(p.subs.apply(path)), mode, p.effort.begin())
	p.effort.add(steps)
	if err != nil {
		err = fmt.Errorf("selinux policy: %w: %w", ErrUnusable, err)
		p.failure.CompareAndSwap(nil, &err)
		return nil
	}
	if s == nil {
		return nil
	}
	return s.label
}

// compile makes the policy of the files.
func (s *sources) compile(ctx context.Context) (*Policy, error) {
	p := &Policy{id: s.id()}
	parser := &parser{labels: map[string]*label{}}
	for _, name := range specFiles {
		if err := parser.file(ctx, name, s.files[name]); err != nil {
			return nil, err
		}
	}
	p.index = newIndex(parser.specs)
	var err error
	if p.subs, err = parseSubstitutions(subsFile, s.files[subsFile]); err != nil {
		return nil, err
	}
	if p.dist, err = parseSubstitutions(distFile, s.files[distFile]); err != nil {
		return nil, err
	}
	// libostree asks for it without a file type.
	if _, ok := p.Label("/", 0o755); !ok {
		return nil, errors.New("it gives no label to /; install the policy again in the image")
	}
	return p, nil
}
