package importer

import (
	"context"

	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

// Sweep deletes what killed processes have left in the repository's tmp/ and in /var/tmp, until ctx
// ends. Every operation that writes or checks does so first: on a full disk this may be what makes
// room for it. What can't be deleted is logged, and is no failure.
func (im *Importer) Sweep(ctx context.Context) {
	im.repo.Sweep(ctx)
	shared := tempdir.Sweeper{
		Prefixes: []string{tempdir.SharedPrefix}, Owners: im.tempOwners, Log: im.log,
	}
	shared.Sweep(ctx, tempdir.Shared)
}

// closeTemporary deletes a temporary directory. If that fails the next Sweep deletes it.
func (im *Importer) closeTemporary(dir *tempdir.Dir) {
	if err := dir.Close(); err != nil {
		im.log.WithError(err).Warn("removing a temporary directory")
	}
}
