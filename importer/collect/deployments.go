package collect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/stored"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// deploymentRefs are the prefixes of the refs of deployments, and of the commits that rpm-ostree
// has built deployments on, with what such a ref names.
var deploymentRefs = map[string]string{
	"ostree/0": "the deployment ", "ostree/1": "the deployment ", "rpmostree/base": "the base commit ",
}

// Deployments tells which images the deployments of a host use.
type Deployments struct {
	repo    *ostreerepo.Repo
	commits map[objects.Checksum]string // what has them as its commit
	bases   map[objects.Checksum]string // what is built on them
	digests map[digest.Digest]string    // what is an image with that manifest
	refs    map[string]string           // what says in its origin that it comes from the image with that ref
}

// FindDeployments reads the deployments that the refs of a repository name, and, where the
// repository is the one of a sysroot, those that are in its directory ostree/deploy, with their
// origins.
func FindDeployments(repo *ostreerepo.Repo) (*Deployments, error) {
	d := &Deployments{
		repo: repo, commits: map[objects.Checksum]string{}, bases: map[objects.Checksum]string{},
		digests: map[digest.Digest]string{}, refs: map[string]string{},
	}
	if err := d.readSysroot(); err != nil {
		return nil, fmt.Errorf("read the deployments: %w", err)
	}
	for prefix, what := range deploymentRefs {
		refs, err := repo.Refs(prefix)
		if err != nil {
			return nil, err
		}
		for _, ref := range refs {
			if ref.Err == nil {
				d.add(ref.Commit, what+ref.Name)
			}
		}
	}
	return d, nil
}

// add notes a deployment. What was noted of its commit before stays.
func (d *Deployments) add(c objects.Checksum, who string) {
	if d.commits[c] == "" {
		d.commits[c] = who
	}
	// What can't be read of the commit is not known to be any image's.
	if commit, err := d.repo.Commit(c); err == nil && !commit.Parent.IsZero() && d.bases[commit.Parent] == "" {
		d.bases[commit.Parent] = who
	}
	if _, dgst, err := stored.Manifest(d.repo, c); err == nil && dgst != "" && d.digests[dgst] == "" {
		d.digests[dgst] = who
	}
}

// maxOrigin is how many bytes of a deployment's origin file are looked at.
const maxOrigin = 64 << 10

// readSysroot reads the deployments in the directory beside the repository:
// STATEROOT/deploy/CHECKSUM.SERIAL, with an origin file of that name and the suffix ".origin".
func (d *Deployments) readSysroot() error {
	path := d.repo.Path()
	if filepath.Base(path) != "repo" {
		return nil
	}
	found, err := filepath.Glob(filepath.Join(escapeGlob(filepath.Dir(path)), "deploy/*/deploy/*.*"))
	if err != nil {
		return err
	}
	for _, dir := range found {
		name := filepath.Base(dir)
		checksum, _, _ := strings.Cut(name, ".")
		commit, err := objects.ParseChecksum(checksum)
		info, statErr := os.Stat(dir)
		if err != nil || statErr != nil || !info.IsDir() {
			continue
		}
		stateroot := filepath.Base(filepath.Dir(filepath.Dir(dir)))
		who := fmt.Sprintf("the deployment %s of %s", name, stateroot)
		d.add(commit, who)
		if err := d.addOrigin(dir+".origin", who); err != nil {
			return err
		}
	}
	return nil
}

// escapeGlob makes a path a pattern for itself.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// addOrigin notes the image that an origin file names. One that does not name any, or in a form
// that nobody knows, says nothing.
func (d *Deployments) addOrigin(path, who string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOrigin))
	if err != nil {
		return err
	}
	image, err := reference.Parse(ostreerepo.KeyFileGroup(string(text), "origin")["container-image-reference"])
	if err != nil {
		return nil
	}
	if ref, err := reference.ImageRef(image.Image); err == nil && d.refs[ref] == "" {
		d.refs[ref] = who
	}
	return nil
}

// Use says which deployment uses the image that a ref names, and how; "" for none. An image is used
// by a deployment of its commit, of another commit with its manifest, of a commit that is built on
// its commit, or of the commit inside it, and by one whose origin names it.
func (d *Deployments) Use(ref string, c objects.Checksum) string {
	_, dgst, err := stored.Manifest(d.repo, c)
	if err != nil {
		dgst = ""
	}
	return d.use(ref, c, dgst)
}

// use is Use of an image whose manifest digest is known, "" for none.
func (d *Deployments) use(ref string, c objects.Checksum, dgst digest.Digest) string {
	var inside objects.Checksum
	if commit, err := d.repo.Commit(c); err == nil {
		inside = commit.Parent
	}
	switch {
	case d.commits[c] != "":
		return d.commits[c] + " is its commit"
	case d.refs[ref] != "":
		return d.refs[ref] + " names it as its origin"
	case dgst != "" && d.digests[dgst] != "":
		return d.digests[dgst] + " has its manifest"
	case d.bases[c] != "":
		return d.bases[c] + " is built on it"
	case !inside.IsZero() && d.commits[inside] != "":
		return d.commits[inside] + " is the commit in it"
	}
	return ""
}
