package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Pull copies refs and commits, with all that they reach, from another repository on this host,
// which may have another mode; in one transaction. The refs get the same names here. A file that
// this repository's mode would change gives ErrInvalid with its path, and nothing is copied. Other
// errors: ErrNoRef, ErrNoObject, ErrCorrupted, ErrNoSpace, ErrReadOnly, *command.Error.
func (r *Repo) Pull(ctx context.Context, from *Repo, refs []string, commits ...objects.Checksum) error {
	reached := slices.Clone(commits)
	var names []string
	for _, ref := range refs {
		c, err := from.Resolve(ref)
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		reached = append(reached, c)
		if err := r.deleteBrokenRef(ctx, ref); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		names = append(names, ref)
	}
	for _, c := range commits {
		names = append(names, c.String())
	}
	if len(names) == 0 {
		return errors.New("pull: nothing is named")
	}
	if err := r.checkPull(ctx, from, reached); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if err := r.doubt(reached...); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if err := r.pullLocal(ctx, from.path, names...); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}

// checkPull refuses commits with a file that ostree would store in this repository in another form
// than its checksum says, as it does in a bare repository without a word.
func (r *Repo) checkPull(ctx context.Context, from *Repo, commits []objects.Checksum) error {
	if r.config.mode != ModeBare || from.config.mode == ModeBare {
		return nil
	}
	check := &pullCheck{to: r, from: from, seen: make(map[objects.Checksum]bool)}
	for _, c := range commits {
		commit, err := from.Commit(c)
		if err == nil {
			err = check.tree(ctx, commit.Tree, "/")
		}
		if err != nil {
			return fmt.Errorf("commit %s: %w", c, err)
		}
	}
	return nil
}

// pullCheck checks each directory and file that the repository lacks once.
type pullCheck struct {
	to, from *Repo
	seen     map[objects.Checksum]bool
}

// tree checks the directory at path, which ends with a slash.
func (p *pullCheck) tree(ctx context.Context, c objects.Checksum, path string) error {
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case p.seen[c]:
		return nil
	case len(path) > maxTreePath:
		return fmt.Errorf("%.200s…: the path has more than %d bytes", path, maxTreePath)
	}
	p.seen[c] = true
	tree, err := p.from.DirTree(c)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	for _, f := range tree.Files {
		if p.seen[f.Checksum] || p.to.Has(objects.KindFile, f.Checksum) {
			continue
		}
		p.seen[f.Checksum] = true
		h, err := p.from.fileHeader(f.Checksum)
		if err == nil {
			if err = checkVerbatim(p.to.config.mode, h); err != nil {
				err = fmt.Errorf("%w: %w", ErrInvalid, err)
			}
		}
		if err != nil {
			return fmt.Errorf("%s%s: %w", path, f.Name, err)
		}
	}
	for _, d := range tree.Dirs {
		if err := p.tree(ctx, d.Tree, path+d.Name+"/"); err != nil {
			return err
		}
	}
	return nil
}
