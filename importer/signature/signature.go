package signature

import (
	"context"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// Check is to be called before an image is opened. It returns an error, ErrRefused or that of an
// ostree command, unless what is to vouch for the image is there: see CheckPolicy and ostreerepo's
// Repo.CheckRemote. repo is where the image is to go.
func Check(ctx context.Context, repo *ostreerepo.Repo, who reference.Signature, env Environment) error {
	switch who.Kind {
	case reference.PolicyInsecureAllowed:
		return nil
	case reference.PolicyStrict:
		return CheckPolicy(env)
	case reference.Remote:
		return repo.CheckRemote(ctx, who.Remote)
	}
	return fmt.Errorf("%w: %q does not say who vouches for the image", ErrRefused, who.Kind)
}

// Verify is to be called with the commit that an image brings, and its detached metadata if there
// is any, before any of it is written. For a reference that names a remote it returns what a person
// can read of the signatures, and ErrRefused unless that remote accepts them; with every other
// there is nothing to do, and the text is empty.
func Verify(ctx context.Context, repo *ostreerepo.Repo, who reference.Signature, commit, detached []byte) (text string, err error) {
	if who.Kind != reference.Remote {
		return "", nil
	}
	return repo.VerifyCommit(ctx, who.Remote, commit, detached)
}
