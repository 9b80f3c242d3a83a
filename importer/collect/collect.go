package collect

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// PinPrefix is the prefix of refs that keep the layers of the image commits that they name,
// whatever they are called.
const PinPrefix = "ostree/container/pin"

// Policy says which images stay. The zero value keeps all of them.
type Policy struct {
	// Undeployed drops images that no deployment uses, except what KeepLast and Quota leave.
	Undeployed bool
	// KeepLast is how many of them are kept per repository name, tags apart, the youngest ones: by
	// when they say that they were created, then by when they were imported, then by name. With 0
	// the number is not limited if there is a Quota, and none is kept otherwise.
	KeepLast int
	// Quota is how many bytes the layers may have, compressed, that only they need; the oldest
	// images go first. 0 means no limit.
	Quota uint64
}

// Decision is what is to happen to one ref.
type Decision struct {
	Ref    string
	Name   string // the image, or the layer's digest; the ref itself where it names neither
	Image  bool
	Record bool // it names what is recorded of the image or the layer Name
	Delete bool
	Reason string
}

// Decide decides on all refs of images, layers and records, sorted by ref.
func Decide(ctx context.Context, repo *ostreerepo.Repo, policy Policy) ([]Decision, error) {
	s, err := survey(ctx, repo)
	if err != nil {
		return nil, err
	}
	if policy.Undeployed {
		s.chooseImages(policy)
	}
	var all []Decision
	for _, i := range s.images {
		all = append(all, i.Decision)
	}
	layers, err := s.decideLayers(repo)
	if err != nil {
		return nil, err
	}
	records, err := s.decideRecords(repo, layers)
	if err != nil {
		return nil, err
	}
	all = slices.Concat(all, layers, records)
	slices.SortFunc(all, func(a, b Decision) int { return cmp.Compare(a.Ref, b.Ref) })
	return all, nil
}

// owner is something that needs layers.
type owner struct {
	Decision
	text     string // for people
	commit   objects.Checksum
	manifest *ocispec.Manifest // nil when it can't be read
	digest   digest.Digest
	created  time.Time // zero when it doesn't say
	imported time.Time // of an image; zero when that is not known
	err      error     // why the manifest can't be read
	needed   bool      // of an image: by a deployment, a base image or a pin
}

// surveyed is what a repository holds.
type surveyed struct {
	images []*owner
	others []*owner // deployments and pins
}

// survey reads the manifests of all that needs layers.
func survey(ctx context.Context, repo *ostreerepo.Repo) (*surveyed, error) {
	s := &surveyed{}
	add := func(prefix string, to *[]*owner, text func(name string) string) error {
		refs, err := repo.Refs(prefix)
		if err != nil {
			return err
		}
		for _, ref := range refs {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if o := readOwner(repo, ref); o != nil {
				o.text = text(o.Name)
				*to = append(*to, o)
			}
		}
		return nil
	}
	asImage := func(name string) string { return "the image " + name }
	if err := add(reference.ImagePrefix, &s.images, asImage); err != nil {
		return nil, err
	}
	prefixes := map[string]string{reference.BaseImagePrefix: "the base image ", PinPrefix: "the pin "}
	maps.Copy(prefixes, deploymentRefs)
	for prefix, what := range prefixes {
		if err := add(prefix, &s.others, func(name string) string { return what + name }); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(s.others, func(a, b *owner) int { return cmp.Compare(a.Ref, b.Ref) })
	return s, s.findNeeded(repo)
}

// findNeeded looks which images a deployment, a base image or a pin needs.
func (s *surveyed) findNeeded(repo *ostreerepo.Repo) error {
	deployments, err := FindDeployments(repo)
	if err != nil {
		return err
	}
	others := identitiesOf(s.others)
	for _, i := range s.images {
		i.Image, i.Reason = true, "it is stored"
		if i.err != nil {
			i.Reason = fmt.Sprintf("it can't be read (%v): remove it, or import it again", i.err)
		}
		if o := others.sameAs(i); o != nil {
			i.needed, i.Reason = true, "needed by "+o.text
		} else if use := deployments.use(i.Ref, i.commit, i.digest); use != "" {
			i.needed, i.Reason = true, use
		}
	}
	return nil
}

// readOwner reads what a ref names; nil for a commit that is no image's.
func readOwner(repo *ostreerepo.Repo, ref ostreerepo.Ref) *owner {
	o := &owner{Decision: Decision{Ref: ref.Name, Name: ref.Name}, commit: ref.Commit, err: ref.Err}
	if image, err := reference.ImageOfRef(ref.Name); err == nil {
		o.Name = image.String()
	}
	if o.err != nil {
		return o
	}
	o.manifest, o.digest, o.err = stored.Manifest(repo, ref.Commit)
	if o.err == nil && o.manifest == nil {
		if !strings.HasPrefix(ref.Name, reference.ImagePrefix+"/") {
			return nil
		}
		o.err = fmt.Errorf("its commit %s has no manifest", ref.Commit)
	}
	if image, err := stored.ReadImage(repo, ref.Commit); err == nil {
		o.created, _ = document.Created(image.Manifest, image.Config)
	}
	// Each import of an image that is new under this name writes the ref, whichever program imports
	// it.
	o.imported, _ = repo.RefTime(ref.Name)
	return o
}

// decideLayers decides on all layer refs, after the images.
func (s *surveyed) decideLayers(repo *ostreerepo.Repo) ([]Decision, error) {
	needed := map[digest.Digest]string{}
	unknown := ""
	note := func(o *owner) {
		if o.Delete {
			return
		}
		if o.manifest == nil {
			if unknown == "" {
				unknown = fmt.Sprintf("it may belong to %s, which can't be read: remove or import that again, then collect again", o.text)
			}
			return
		}
		for _, l := range o.manifest.Layers {
			if needed[l.Digest] == "" {
				needed[l.Digest] = "needed by " + o.text
			}
		}
	}
	for _, o := range slices.Concat(s.images, s.others) {
		note(o)
	}
	refs, err := repo.Refs(reference.BlobPrefix)
	if err != nil {
		return nil, err
	}
	var decisions []Decision
	for _, ref := range refs {
		decisions = append(decisions, decideLayer(ref, needed, unknown))
	}
	return decisions, nil
}

func decideLayer(ref ostreerepo.Ref, needed map[digest.Digest]string, unknown string) Decision {
	d := Decision{Ref: ref.Name, Name: ref.Name}
	text, err := reference.Unescape(reference.BlobPrefix, ref.Name)
	if err != nil || digest.Digest(text).Validate() != nil {
		d.Reason = "its name is not that of a layer: `ostree refs --delete` removes it"
		return d
	}
	d.Name = text
	switch reason := needed[digest.Digest(text)]; {
	case reason != "":
		d.Reason = reason
	case unknown != "":
		d.Reason = unknown
	default:
		d.Delete, d.Reason = true, "no image or deployment needs it"
	}
	return d
}
