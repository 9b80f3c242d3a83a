package importer

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

const (
	defaultJobs = 3
	maxJobs     = 64
)

// Config is what an Importer works with.
type Config struct {
	Repo *ostreerepo.Repo
	Open OpenFunc
	Push PushFunc
	Jobs int                // layers to fetch at once when a request doesn't say; 0 means 3
	Log  logrus.FieldLogger // nil: discard
	// Memory is shared by all that is read of images at the same time: windows of decoders, trees
	// of layers. Importers of one process should have one; nil gives this one a budget of the
	// default size.
	Memory *budget.Budget
	// Policy is where the containers policy is looked for that must not accept by default what a
	// reference wants signed. It must be the policy that images are opened under.
	Policy signature.Environment
	// TempOwners are users, besides our own, whose directories in /var/tmp Sweep takes for this
	// program's: the image proxy's.
	TempOwners []int
	// User runs the programs that parse what an image holds, where we are root; nil: ours.
	User *command.User
	// RPM reads the RPM databases of commits that are encapsulated; nil: they are not taken into
	// account.
	RPM *rpmdb.Reader
}

// Importer imports images into one repository. It is safe for concurrent use.
type Importer struct {
	repo   *ostreerepo.Repo
	open   OpenFunc
	push   PushFunc
	jobs   int
	memory *budget.Budget
	log    logrus.FieldLogger
	rules  layertar.Rules // of plain images
	policy signature.Environment
	rpm    *rpmdb.Reader
	user   *command.User

	tempOwners []int
}

// New returns an Importer.
func New(cfg Config) *Importer {
	im := &Importer{repo: cfg.Repo, open: cfg.Open, push: cfg.Push, jobs: cfg.Jobs, log: cfg.Log, policy: cfg.Policy, rpm: cfg.RPM, user: cfg.User, tempOwners: cfg.TempOwners}
	if im.memory = cfg.Memory; im.memory == nil {
		im.memory = budget.New(0)
	}
	if im.jobs == 0 {
		im.jobs = defaultJobs
	}
	if im.log == nil {
		discard := logrus.New()
		discard.SetLevel(logrus.PanicLevel)
		im.log = discard
	}
	// From 2024.3 on libostree keeps /var of a commit for the first boot itself.
	im.rules.FactoryVar = !cfg.Repo.Version().AtLeast(2024, 3)
	return im
}

// Ref returns the ref of the image that an import of the request sets, "" if it sets none or the
// request is refused.
func (req Request) Ref() string {
	n, err := resolve(req)
	if err != nil {
		return ""
	}
	return n.ref
}

// names is what a request names, taken apart.
type names struct {
	source reference.Reference
	ref    string // of the image in the repository; "" when none is to be written
}

// resolve checks a request and takes its names apart.
func resolve(req Request) (names, error) {
	source, err := reference.Parse(req.Image)
	if err != nil {
		return names{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err}
	}
	if err := checkOptions(req); err != nil {
		return names{}, err
	}
	if req.NoRef {
		return names{source: source}, nil
	}
	target := source.Image
	if req.Target != "" {
		t, err := reference.Parse(req.Target)
		if err != nil {
			return names{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: fmt.Errorf("target: %w", err)}
		}
		target = t.Image
	}
	ref, err := reference.ImageRef(target)
	if err != nil {
		return names{}, &Error{Kind: KindInvalidReference, Stage: StageReference, Err: err, Hint: "record it under another name with --target"}
	}
	return names{source: source, ref: ref}, nil
}

func checkOptions(req Request) error {
	invalid := func(err error) error { return &Error{Kind: KindInvalidOption, Stage: StageReference, Err: err} }
	if req.Jobs < 0 || req.Jobs > maxJobs {
		return invalid(fmt.Errorf("%d layers at once is out of range, want 1 to %d or 0 for the default", req.Jobs, maxJobs))
	}
	if req.NoRef && req.Target != "" {
		return invalid(errors.New("a target name and writing no image ref exclude each other"))
	}
	if req.ReuseForeign && req.RequireVerified {
		return invalid(errors.New("reusing another program's layers and requiring that layers are verified exclude each other"))
	}
	if req.Digest == "" {
		return nil
	}
	if err := req.Digest.Validate(); err != nil {
		return invalid(fmt.Errorf("the required digest %q: %w", req.Digest, err))
	}
	return nil
}

// checkRef refuses a ref that the repository can't hold beside those that it has: refs are files,
// so one can't be below another.
func (im *Importer) checkRef(ref string) error {
	if ref == "" {
		return nil
	}
	refs, err := im.repo.Refs(reference.ImagePrefix)
	if err != nil {
		return classify(StagePlan, err)
	}
	for _, r := range refs {
		if strings.HasPrefix(ref, r.Name+"/") || strings.HasPrefix(r.Name, ref+"/") {
			other := r.Name
			if image, err := reference.ImageOfRef(r.Name); err == nil {
				other = image.String()
			}
			return &Error{
				Kind: KindInvalidReference, Stage: StagePlan,
				Err:  fmt.Errorf("the ref %s can't exist beside that of the stored image %s (%s): one would be a file and a directory", ref, other, r.Name),
				Hint: "add a tag to the name, record the image under another one with --target, or remove the stored one",
			}
		}
	}
	return nil
}

// openSource opens an image.
func (im *Importer) openSource(ctx context.Context, image reference.Image, access Access) (Source, error) {
	source, err := im.open(ctx, image, access)
	if err != nil {
		return nil, stopped(ctx, StageOpen, classify(StageOpen, err))
	}
	return source, nil
}
