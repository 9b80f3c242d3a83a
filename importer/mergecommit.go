package importer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/merge"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// merge writes and lands the image's commit.
func (p *Prepared) merge(ctx context.Context, r *reporter) error {
	r.enter(StageMerge)
	st, err := p.im.repo.NewStaging()
	if err != nil {
		return classify(StageMerge, err)
	}
	defer p.im.closeStaging(st)
	crashpoint.Pass("merge begun")
	commit, relabelled, err := p.mergeCommit(ctx, st)
	if err != nil {
		return err
	}
	for ref, c := range relabelled {
		if err := st.SetRef(ref, c); err != nil {
			return classify(StageLand, err)
		}
	}
	if err := p.stageRecord(st, commit); err != nil {
		return classify(StageMerge, err)
	}
	if err := st.SetRef(p.plan.ImageRef, commit); err != nil {
		return classify(StageLand, err)
	}
	if err := p.im.checkRef(p.plan.ImageRef); err != nil { // other imports have landed since the first check
		return err
	}
	crashpoint.Pass("merge written")
	r.enter(StageLand)
	if err := st.Land(ctx); err != nil {
		return classify(StageLand, err)
	}
	crashpoint.Pass("merge landed")
	p.plan.Commit = commit.String()
	// The commit may have been there, with what an earlier version noted of it.
	if err := p.im.recorder().dropEarlierNotes(ctx, commit); err != nil {
		p.im.log.WithField("image", p.plan.Reference).WithError(err).Warn("removing detached metadata that an earlier version wrote")
	}
	return nil
}

// stageRecord has the image's record land with its commit. Where there is one, it is replaced even
// by one that tells nothing: it may be about an earlier time at which the image was this commit.
func (p *Prepared) stageRecord(st *ostreerepo.Staging, commit objects.Checksum) error {
	r := p.recordOf(commit)
	if r.IsEmpty() {
		if _, err := p.im.repo.Resolve(reference.RecordRef(p.plan.ImageRef)); errors.Is(err, ostreerepo.ErrNoRef) {
			return nil
		}
	}
	return stageRecord(st, r)
}

// mergeCommit writes the image's commit, from layers that the repository has. relabelled are the
// refs of layers that it had to label anew, with their new commits.
func (p *Prepared) mergeCommit(
	ctx context.Context, st ostreerepo.Objects,
) (commit objects.Checksum, relabelled map[string]objects.Checksum, err error) {
	relabelled = map[string]objects.Checksum{}
	foreign, unverified := map[objects.Checksum]bool{}, []string(nil)
	derived := make([]stored.Layer, 0, len(p.plan.Layers))
	labelled := make(map[objects.Checksum]stored.Layer) // by the commit before: an image may have a layer a thousand times
	for i, l := range p.plan.Layers {
		if isBase(l) {
			continue
		}
		held, err := p.layer(i)
		before := held.Commit
		if known, again := labelled[before]; err == nil && again {
			known.Ref = held.Ref
			held = known
		} else if err == nil {
			held, err = p.ground.label(ctx, st, held)
			labelled[before] = held
		}
		if err != nil {
			return commit, nil, p.plan.layerError(classify(StageMerge, err), i+1)
		}
		if held.IsForeign() {
			foreign[held.Commit] = true
			unverified = append(unverified, l.Digest.String())
		} else if held.Commit != before {
			relabelled[held.Ref] = held.Commit
		}
		p.plan.Layers[i].Commit = held.Commit.String()
		derived = append(derived, held)
	}
	tree, err := p.im.mergeTree(ctx, st, &p.ground, derived, foreign)
	if err != nil {
		e := classify(StageMerge, err)
		if e.LayerIndex > 0 {
			e.LayerIndex += len(p.plan.Layers) - len(derived)
		}
		return commit, nil, p.plan.layerError(e, e.LayerIndex)
	}
	metadata, err := p.plan.metadata()
	if err != nil {
		return commit, nil, err
	}
	if len(unverified) > 0 {
		slices.Sort(unverified)
		metadata[stored.MetaUnverified] = objects.Strings(slices.Compact(unverified))
	}
	c := objects.Commit{Metadata: metadata, Tree: tree.Tree, Meta: tree.Meta}
	var base *objects.Commit
	if p.ground.base != nil {
		base, c.Parent = &p.ground.base.Object, p.ground.base.Commit
	}
	c.Timestamp = p.plan.timestamp(base)
	if commit, err = st.WriteCommit(c); err != nil {
		return commit, nil, classify(StageMerge, err)
	}
	return commit, relabelled, nil
}

// layer reads the layer that the import has found or fetched. What the layer's ref names may be
// another by now: the same blob as another image needs it.
func (p *Prepared) layer(index int) (stored.Layer, error) {
	l := p.plan.Layers[index]
	c, err := objects.ParseChecksum(l.Commit)
	if err != nil {
		return stored.Layer{}, fmt.Errorf("%w: %s", ostreerepo.ErrNoRef, l.Ref)
	}
	held, err := stored.ReadLayerCommit(p.im.repo, c)
	held.Ref = l.Ref
	return held, err
}

// label gives a layer whose files are labelled by the ground's policy: the layer itself, or one
// that is the same but for the labels, whose commit is to take the place of the other.
func (g *ground) label(ctx context.Context, st ostreerepo.Objects, l stored.Layer) (stored.Layer, error) {
	policy := g.policy()
	if policy == nil || l.Ours && l.Policy == policy.ID() {
		return l, nil
	}
	tree, _, err := selinux.RelabelLayer(ctx, st, objects.TreeDir{Tree: l.Object.Tree, Meta: l.Object.Meta}, policy)
	if err != nil {
		return l, err
	}
	if l.IsForeign() && tree == treeOf(&l.Object) {
		return l, nil
	}
	l.Object.Tree, l.Object.Meta = tree.Tree, tree.Meta
	if l.IsForeign() { // its ref keeps naming what the other program has made
		l.Commit, err = st.WriteCommit(l.Object)
		return l, err
	}
	l.Policy = policy.ID()
	l.Object.Metadata = maps.Clone(l.Object.Metadata)
	l.Object.Metadata[layertar.MetaPolicy] = objects.String(l.Policy)
	if l.Ours {
		l.Object.Metadata[layertar.MetaTree] = objects.String(layertar.TreeID(tree))
	}
	l.Commit, err = st.WriteCommit(l.Object)
	return l, err
}

// mergeMemory is the memory, in bytes, that a merge begins with. One that needs more takes more.
const mergeMemory = 16 << 20

// mergeTree puts the layers, which are labelled by the ground's policy, on the ground, and labels
// all anew if the outcome has another policy.
func (im *Importer) mergeTree(
	ctx context.Context, st ostreerepo.Objects, g *ground, layers []stored.Layer, foreign map[objects.Checksum]bool,
) (merge.Tree, error) {
	commits := make([]objects.Checksum, len(layers))
	for i, l := range layers {
		commits[i] = l.Commit
	}
	var base *objects.Commit
	if g.base != nil {
		base = &g.base.Object
	}
	var tree merge.Tree
	err := im.memory.Run(ctx, mergeMemory, func(memory *budget.Share) (err error) {
		tree, err = merge.Merge(ctx, st, base, commits, merge.Options{
			Rules: g.rules, Labels: g.policy(), Foreign: foreign, Memory: memory,
		})
		return err
	})
	if err != nil || len(layers) == 0 {
		return tree, err
	}
	var policy *selinux.Policy
	id, err := selinux.ID(ctx, st, tree.Tree)
	if err == nil && id != g.policy().ID() {
		policy, err = selinux.Load(ctx, st, tree.Tree)
	}
	if errors.Is(err, selinux.ErrUnusable) && g.base == nil {
		// Many plain images have parts of a policy that nobody uses. No host could boot with it
		// anyway.
		im.log.WithError(err).Warn("the image's files get no SELinux labels")
		return tree, nil
	}
	if err != nil || policy == nil {
		return tree, err
	}
	labelled, _, err := selinux.Relabel(ctx, st, objects.TreeDir{Tree: tree.Tree, Meta: tree.Meta}, policy, "/")
	return merge.Tree{Tree: labelled.Tree, Meta: labelled.Meta}, err
}

// metadata gives the merge commit's metadata. Manifest and config are in canonical JSON (RFC 8785),
// so that two imports of one image agree whatever formatting their sources chose.
func (plan *Plan) metadata() (objects.Dict, error) {
	manifest, err := canonical(plan.Manifest)
	if err != nil {
		return nil, &Error{Kind: KindUnsupportedImage, Stage: StageManifest, Err: fmt.Errorf("the manifest has no canonical JSON form: %w", err)}
	}
	config, err := canonical(plan.Config)
	if err != nil {
		return nil, &Error{Kind: KindUnsupportedImage, Stage: StageConfig, Err: fmt.Errorf("the config has no canonical JSON form: %w", err)}
	}
	metadata := objects.Dict{
		stored.MetaConfig:         objects.String(config),
		layertar.MetaImporter:     objects.String(layertar.Importer),
		stored.MetaManifest:       objects.String(manifest),
		stored.MetaManifestDigest: objects.String(plan.ManifestDigest.String()),
	}
	if plan.ConfigReplaced {
		metadata[stored.MetaConfigDigest] = objects.String(plan.ConfigDigest.String())
	}
	return metadata, nil
}

// canonical gives the canonical form of a document, which must not be larger than a document may
// be. A manifest with a repeated key is refused, because it is another image for other programs.
func canonical(raw []byte) (string, error) {
	text, replaced, err := document.Canonical(raw)
	switch {
	case err != nil:
		return "", err
	case errors.Is(replaced, document.ErrAmbiguous):
		return "", replaced
	case len(text) > document.MaxSize:
		return "", fmt.Errorf("it has %d bytes, more than the %d that are allowed", len(text), document.MaxSize)
	}
	return string(text), nil
}

// timestamp is the image's creation time in seconds. Where it says none it is that of the base
// commit, and 0 without one: the time of the import would make every import another commit.
func (plan *Plan) timestamp(base *objects.Commit) uint64 {
	if plan.Created.IsZero() && base != nil {
		return base.Timestamp
	}
	return uint64(max(0, plan.Created.Unix()))
}
