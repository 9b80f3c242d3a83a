package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Pull copies refs and commits, with all that they reach, from another repository on this host, which may have another mode; in
// one transaction. The refs get the same names here. Errors: ErrNoRef, ErrNoSpace, ErrReadOnly, *command.Error.
func (r *Repo) Pull(ctx context.Context, from *Repo, refs []string, commits ...objects.Checksum) error {
	args := []string{"--disable-verify-bindings", from.path}
	named := slices.Clone(commits)
	for _, ref := range refs {
		c, err := from.Resolve(ref)
		if err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		named = append(named, c)
		if err := r.deleteBrokenRef(ctx, ref); err != nil {
			return fmt.Errorf("pull: %w", err)
		}
		args = append(args, ref)
	}
	for _, c := range commits {
		args = append(args, c.String())
	}
	if len(args) == 2 {
		return errors.New("pull: nothing is named")
	}
	if err := r.doubt(named...); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	if err := r.pullLocal(ctx, args...); err != nil {
		return fmt.Errorf("pull: %w", err)
	}
	return nil
}
