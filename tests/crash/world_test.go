//go:build crash

package crash

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// world holds the images, the repositories as they are before each operation, and the place where
// the operations work.
type world struct {
	testing.TB
	dir       string
	bus       *fixture.Bus
	app, base string            // references
	index     map[string][]byte // of the layout that app is in, by the version of app
	commits   map[string]string // that a pull of app gives, by its version; and of base
	places    map[string]string // directories that are copied to the place of work, by name
	opened    *ostreerepo.Repo  // the repository at the place of work
	second    *ostreerepo.Repo  // the one to copy to
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		TB: t, dir: fixture.PublicDir(t),
		index: map[string][]byte{}, commits: map[string]string{}, places: map[string]string{},
	}
	w.bus = fixture.StartBus(t, fixture.DaemonOptions{Repo: w.path("repo")})
	w.app, w.base = "oci:"+w.dir+"/images:app", "oci:"+w.dir+"/base:base"
	w.buildImages()
	w.buildPlaces()
	return w
}

// path gives a path at the place of work, which is another one before each hit.
func (w *world) path(name string) string { return filepath.Join(w.dir, "work", name) }

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// layer makes a layer of a directory with some files.
func layer(name string, files int) ocimodel.Layer {
	dir := ocimodel.Entry{Path: "usr/" + name, Type: ocimodel.Dir, Mode: 0o755}
	l := ocimodel.Layer{Entries: []ocimodel.Entry{dir}}
	for i := range files {
		l.Entries = append(l.Entries, ocimodel.Entry{
			Path: fmt.Sprintf("usr/%s/%d", name, i), Type: ocimodel.File, Mode: 0o644,
			Content: []byte(strings.Repeat(fmt.Sprintf("%s %d ", name, i), 100+1000*i)),
		})
	}
	return l
}

func (w *world) buildImages() {
	w.Helper()
	for _, version := range []struct {
		name   string
		layers []ocimodel.Layer
	}{
		{"1", []ocimodel.Layer{layer("shared", 5), layer("old", 5)}},
		{"2", []ocimodel.Layer{layer("shared", 5), layer("new", 5), layer("more", 3)}},
	} {
		var spec ociimage.Spec
		for _, l := range version.layers {
			archive, err := l.Tar()
			w.must(err)
			spec.Layers = append(spec.Layers, ociimage.Layer{Tar: archive, Compression: ociimage.Gzip})
		}
		image, err := spec.Build()
		w.must(err)
		w.must(image.WriteLayout(filepath.Join(w.dir, "images"), "app"))
		w.index[version.name], err = os.ReadFile(filepath.Join(w.dir, "images/index.json"))
		w.must(err)
	}
	source := fixture.NewRepo(w, ostreerepo.ModeBareUser)
	tree := w.TB.TempDir()
	for i := range 6 {
		path := filepath.Join(tree, fmt.Sprintf("usr/lib/part%d", i))
		w.must(os.MkdirAll(path, 0o755))
		for j := range 4 {
			content := strings.Repeat(fmt.Sprintf("part %d of %d ", j, i), 5000)
			w.must(os.WriteFile(filepath.Join(path, fmt.Sprint(j)), []byte(content), 0o644))
		}
	}
	fixture.MustRun(w, "ostree", "--repo="+source.Path(), "commit", "--branch=system",
		"--timestamp=@1", "--owner-uid=0", "--owner-gid=0", tree)
	w.mustRun(w.local(source.Path(), "encapsulate", "--max-layers=4", "system", w.base))
}

// setVersion makes the name of app stand for a version.
func (w *world) setVersion(version string) {
	w.Helper()
	w.must(os.WriteFile(filepath.Join(w.dir, "images/index.json"), w.index[version], 0o644))
}

// local makes an ostree-importctl command that works in a repository itself.
func (w *world) local(repo string, args ...string) *exec.Cmd {
	args = append([]string{"--local", "--repo=" + repo}, args...)
	return exec.Command(fixture.Command(w, "ostree-importctl"), args...)
}

func (w *world) mustRun(cmd *exec.Cmd) string {
	w.Helper()
	out := fixture.Run(w, cmd)
	if out.Code != 0 {
		w.Fatalf("%q exits %d:\n%s%s", cmd.Args, out.Code, out.Stdout, out.Stderr)
	}
	return out.Stdout
}

// pulled runs a pull and gives the commit.
func (w *world) pulled(cmd *exec.Cmd) string {
	w.Helper()
	var result struct {
		Commit string `json:"commit"`
	}
	w.must(json.Unmarshal([]byte(w.mustRun(cmd)), &result))
	return result.Commit
}

// buildPlaces makes the repositories that operations begin with.
func (w *world) buildPlaces() {
	w.Helper()
	work := w.path("")
	keep := func(name string) {
		w.places[name] = filepath.Join(w.dir, "places", name)
		w.must(os.MkdirAll(filepath.Dir(w.places[name]), 0o755))
		fixture.MustRun(w, "cp", "-a", work, w.places[name])
	}
	repo, second := w.path("repo"), w.path("second")
	modes := map[string]ostreerepo.Mode{repo: ostreerepo.ModeBareUser, second: ostreerepo.ModeArchive}
	for path, mode := range modes {
		made, err := ostreerepo.Create(w.Context(), path, mode, ostreerepo.Options{})
		w.must(err)
		fixture.NoSync(w, made)
	}
	w.must(os.Mkdir(w.path("out"), 0o755))
	keep("empty")
	pull := func(name string) string { return w.pulled(w.local(repo, "--json", "pull", name)) }
	w.commits["base"] = pull(w.base)
	w.setVersion("2")
	w.commits["2"] = pull(w.app)
	w.setVersion("1")
	w.commits["1"] = pull(w.app)
	keep("stored")
	w.damage(w.commits["1"], "usr/old/3")
	keep("damaged")
	w.reset("stored")
	w.mustRun(w.local(repo, "remove", "--skip-gc", w.app))
	keep("garbage")
	w.reset("stored")
	w.damage(w.commits["base"], "usr/lib/part1/2")
	w.mustRun(w.local(repo, "remove", "--skip-gc", w.base))
	keep("holed")
}

// damage deletes a file of a commit.
func (w *world) damage(commit, path string) {
	w.Helper()
	w.open()
	c, err := objects.ParseChecksum(commit)
	w.must(err)
	object, err := w.opened.Commit(c)
	w.must(err)
	found, err := ostreerepo.Lookup(w.opened, object.Tree, path)
	w.must(err)
	sum := found.File.String()
	w.must(os.Remove(filepath.Join(w.opened.Path(), "objects", sum[:2], sum[2:]+".file")))
}

// reset makes the place of work what a place is.
func (w *world) reset(place string) {
	w.Helper()
	w.must(os.RemoveAll(w.path("")))
	fixture.MustRun(w, "cp", "-a", w.places[place], w.path(""))
	w.open()
}

func (w *world) open() {
	w.Helper()
	var err error
	w.opened, err = ostreerepo.Open(w.Context(), w.path("repo"), ostreerepo.Options{})
	w.must(err)
	w.second, err = ostreerepo.Open(w.Context(), w.path("second"), ostreerepo.Options{})
	w.must(err)
}
