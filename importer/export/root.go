package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/roottree"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Root is what is written as a root.
type Root struct {
	Repo           *ostreerepo.Repo
	Commit         objects.Checksum
	Tree           objects.TreeDir // the commit's root directory
	ManifestDigest digest.Digest
	Config         []byte // nil for none
	// User runs the programs that make file systems, where we are root; nil: ours.
	User *command.User
}

// RootResult is what WriteRoot has written.
type RootResult struct {
	Size       uint64   // of the file, in bytes
	ConfigFile string   // "" when there is no config
	Cached     bool     // the file was there, made of the same
	Omitted    []string // extended attributes that the format can't hold, by name, sorted; not known of a file that was there
}

// WriteRoot writes a root to the file of dest. step, if not nil, is called by one goroutine after
// each path, with how many there are. Errors: ErrToolMissing, *command.Error, ErrForeignConfig,
// dirfd.ErrInRepository, those of package roottree, unix.ENOSPC and unix.EROFS, and the cause that
// ctx ended of.
func WriteRoot(ctx context.Context, root Root, dest Destination, step func(total uint64)) (RootResult, error) {
	var res RootResult
	if root.Config != nil {
		res.ConfigFile = dest.Path + configSuffix
	}
	made := fmt.Sprintf("1 %s %s %s", dest.Root, root.ManifestDigest, root.Commit)
	f, err := at(dest)
	if err == nil {
		scratch.Sweep(f.parent) // also where nothing is to be written
		if res.Size, res.Cached = f.existing(made, root.Config); !res.Cached {
			res.Size, res.Omitted, err = root.write(ctx, f, dest.Root, made, step)
		}
		err = errors.Join(err, f.close())
	}
	if err != nil {
		return RootResult{}, fmt.Errorf("write %s: %w", dest.Path, err)
	}
	return res, nil
}

// write writes the root to a file and publishes that.
func (root Root) write(ctx context.Context, f *file, format Format, made string, step func(uint64)) (size uint64, omitted []string, err error) {
	if err := f.create(root.Config); err != nil {
		return 0, nil, err
	}
	w := &rootWriter{Root: root, format: format, file: f, omitted: make(map[string]bool), step: step}
	if err := w.write(ctx); err != nil {
		return 0, nil, err
	}
	size, err = f.publish(made, root.Config)
	return size, slices.Sorted(maps.Keys(w.omitted)), err
}

// rootWriter writes one root.
type rootWriter struct {
	Root
	format  Format
	file    *file
	omitted map[string]bool
	step    func(total uint64)
	total   uint64
}

func (w *rootWriter) write(ctx context.Context) error {
	var err error
	if w.total, err = roottree.Count(ctx, w.Repo, w.Tree); err != nil {
		return err
	}
	switch w.format {
	case Squashfs:
		return w.squashfs(ctx)
	case EROFS:
		return w.erofs(ctx)
	}
	out := bufio.NewWriterSize(w.file.out, pipeBuffer)
	if err := w.archive(ctx, out, true); err != nil {
		return err
	}
	return out.Flush()
}

// archive writes the root as an archive, with the entry of the root directory or without it.
func (w *rootWriter) archive(ctx context.Context, to io.Writer, withRoot bool) error {
	a := roottree.NewArchive(w.Repo, to, w.keep)
	err := roottree.Walk(ctx, w.Repo, w.Tree, func(e roottree.Entry) error {
		if e.Path != "" || withRoot {
			if err := a.Add(ctx, e); err != nil {
				return err
			}
		}
		w.stepped()
		return nil
	})
	if err != nil {
		return err
	}
	return a.Close()
}

// unpack writes the root into a directory, for which use is called.
func (w *rootWriter) unpack(ctx context.Context, use func(dir string) error) (err error) {
	st, err := w.Repo.NewStaging()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	dir, err := st.Scratch()
	if err != nil {
		return err
	}
	if err := roottree.Unpack(ctx, w.Repo, w.Tree, dir, w.keep, w.stepped); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	return use(dir)
}

func (w *rootWriter) stepped() {
	if w.step != nil {
		w.step(w.total)
	}
}

// keep tells which extended attributes the format can hold, and notes the others.
func (w *rootWriter) keep(name string) bool {
	namespace, rest, _ := strings.Cut(name, ".")
	ok := false
	switch namespace {
	case "user", "trusted", "security":
		ok = rest != ""
	case "system":
		ok = w.format != Squashfs && (rest == "posix_acl_access" || rest == "posix_acl_default")
	}
	ok = ok && !strings.Contains(name, "=")
	if !ok {
		w.omitted[name] = true
	}
	return ok
}
