package importer

import (
	"context"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/base"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// ground is what the derived layers of an image are put on, which decides how they are imported.
type ground struct {
	base  *base.Base     // nil for a plain image, and as long as the base commit isn't here
	rules layertar.Rules // of the layers; where known is false, OnlyUsr may be otherwise
	known bool
}

// groundOf reads the base commit of an image with that many derived layers. Errors are those of
// package base.
func (im *Importer) groundOf(ctx context.Context, commit objects.Checksum, derived int) (ground, error) {
	var err error
	b := &base.Base{Commit: commit}
	if derived > 0 {
		b, err = base.Read(ctx, im.repo, commit)
	} else { // then there is nothing to decide, and no need to understand what the commit says about it
		b.Object, err = im.repo.Commit(commit)
	}
	if err != nil {
		return ground{}, err
	}
	g := ground{base: b, rules: im.unknownGround().rules, known: true}
	g.rules.OnlyUsr = b.OnlyUsr
	return g, nil
}

// plainGround is that of an image without a base commit.
func (im *Importer) plainGround() ground { return ground{rules: im.rules, known: true} }

// unknownGround is that of an image whose base commit isn't here yet.
func (im *Importer) unknownGround() ground {
	g := ground{rules: im.rules}
	g.rules.SysrootLinks = true
	return g
}

// policy gives the SELinux policy that the layers' files are labelled by, nil for none.
func (g *ground) policy() *selinux.Policy {
	if g.base == nil {
		return nil
	}
	return g.base.Policy
}

// fits tells whether an import can use a stored layer: it was made by the same path rules, from an
// archive with this diff ID, and special files were left out of it only if they may be. A layer
// without labels can be labelled, but not the other way round.
//
// A commit of another importer doesn't fit: it doesn't say which directories the archive has not
// listed, and ostree gives those, up to the root, an owner and a mode that would then be the
// base's; and it may have got its ref before the blob's digest was verified. Nor does one of ours
// that another importer has labelled anew, which keeps our keys.
func (g *ground) fits(held stored.Layer, diffID digest.Digest, dropSpecial bool) bool {
	if !held.Ours || held.DiffID != diffID || !dropSpecial && held.Filtered[layertar.FilteredSpecial] > 0 {
		return false
	}
	if !g.known {
		other := g.rules
		other.OnlyUsr = !other.OnlyUsr
		return held.Rules == g.rules.String() || held.Rules == other.String()
	}
	return held.Rules == g.rules.String() && (held.Policy == "" || g.policy() != nil)
}
