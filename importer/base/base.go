package base

import (
	"context"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Base is a commit that layers are put on.
type Base struct {
	Commit objects.Checksum
	Object objects.Commit
	// OnlyUsr says that a host that boots the commit has no more than /usr, /etc and /var of it, so
	// that other top levels of layers are left out: the value for layertar.Rules.OnlyUsr.
	OnlyUsr bool
	// Policy is the SELinux policy in the commit; nil for none.
	Policy *selinux.Policy
}

// Read reads a commit, of which repo must have the directories and the files in question. Errors:
// ostreerepo.ErrNoObject, ostreerepo.ErrCorrupted and selinux.ErrUnusable, the cause that ctx ended
// of, and one that names file, group and key of a setting that means nothing.
func Read(ctx context.Context, repo *ostreerepo.Repo, commit objects.Checksum) (*Base, error) {
	b := &Base{Commit: commit}
	if err := b.read(ctx, repo); err != nil {
		return nil, fmt.Errorf("base commit %s: %w", commit, err)
	}
	return b, nil
}

func (b *Base) read(ctx context.Context, repo *ostreerepo.Repo) (err error) {
	if b.Object, err = repo.Commit(b.Commit); err != nil {
		return err
	}
	if b.OnlyUsr, err = onlyUsr(repo, b.Object.Tree); err != nil {
		return err
	}
	b.Policy, err = selinux.Load(ctx, repo, b.Object.Tree)
	return err
}
