package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// storedUnder records images of these names in a new repository. Their only layer is missing:
// nothing but the name matters.
func storedUnder(t *testing.T, names ...string) string {
	t.Helper()
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	config := `{"architecture":"amd64","config":{},"os":"linux","rootfs":{"diff_ids":["` + layer.String() + `"],"type":"layers"}}`
	manifest := `{"config":{"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",` +
		`"mediaType":"application/vnd.oci.image.config.v1+json","size":2},"layers":[{"digest":"` + layer.String() +
		`","mediaType":"application/vnd.oci.image.layer.v1.tar","size":9}],` +
		`"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}`
	for _, name := range names {
		ref, err := reference.Escape(reference.ImagePrefix, name)
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(needs.Tool(t, "ostree"), "--repo="+repo.Path(), "commit", "--no-bindings", "--branch="+ref, "--parent=none",
			"--add-metadata-string=ostree.container.image-config="+config, "--add-metadata-string=ostree.manifest="+manifest,
			"--add-metadata-string=ostree.manifest-digest=sha256:"+strings.Repeat("1", 64), "--tree=dir="+t.TempDir()).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return repo.Path()
}

// TestStoredNamesAsTheyStand: a relative path in a name is one of the working directory, unless an
// image is stored under it as it stands.
func TestStoredNamesAsTheyStand(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ stored, given, found string }{
		{"oci:plain/x:t", "oci:plain/x:t", "oci:plain/x:t"},
		{"oci:plain/x:t", "ostree-image-signed:oci:plain/x:t", "oci:plain/x:t"},
		{"oci:../x", "oci:../x", "oci:../x"},
		{"oci:./x", "oci:./x", "oci:./x"},
		{"dir:x", "dir:x", "dir:x"},
		{"oci-archive:x.tar", "oci-archive:x.tar", "oci-archive:x.tar"},
		{"docker-archive:x.tar:a/b:1", "docker-archive:x.tar:a/b:1", "docker-archive:x.tar:a/b:1"},
		{"oci:/srv/../x:t", "oci:/srv/../x:t", "oci:/srv/../x:t"},
		{"oci:" + here + "/x:t", "oci:x:t", "oci:" + here + "/x:t"},
		{"oci:" + here + "/x:t", "oci:./x:t", "oci:" + here + "/x:t"},
		{"docker://example.com/os:1", "example.com/os:1", "docker://example.com/os:1"},
		{"containers-storage:x:1", "containers-storage:x:1", "containers-storage:x:1"},
	} {
		t.Run(test.given, func(t *testing.T) {
			s := &settings{local: true, repository: storedUnder(t, test.stored, "docker://example.com/other:1")}
			run := func(args ...string) []byte {
				t.Helper()
				var out bytes.Buffer
				cmd := rootCommand()
				cmd.SetOut(&out)
				cmd.SetArgs(append([]string{"--local", "--repo=" + s.repository, "--json"}, args...))
				if err := cmd.ExecuteContext(t.Context()); err != nil {
					t.Fatalf("%s: %v", args, err)
				}
				return out.Bytes()
			}
			var shown importer.Image
			if err := json.Unmarshal(run("show", test.given), &shown); err != nil || shown.Reference != test.found {
				t.Errorf("shown is %q, %v, want %q", shown.Reference, err, test.found)
			}
			run("history", test.given)
			run("forget", test.given)
			run("diff", test.given, "docker://example.com/other:1")
			run("diff", "docker://example.com/other:1", test.given)
			var removed importer.RemoveResult
			if err := json.Unmarshal(run("remove", test.given), &removed); err != nil || len(removed.Removed) != 1 || len(removed.Missing) != 0 {
				t.Errorf("removed %+v, %v", removed, err)
			}
		})
	}
}

// TestStoredNameOfNothing: where nothing is stored under a name, the message has the path that was
// looked for.
func TestStoredNameOfNothing(t *testing.T) {
	t.Chdir(t.TempDir())
	here, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	s := &settings{local: true, repository: storedUnder(t)}
	for given, want := range map[string]string{
		"oci:x:t": "oci:" + here + "/x:t", "ostree-image-signed:oci:x:t": "ostree-image-signed:oci:" + here + "/x:t",
		"oci:/x:t": "oci:/x:t", "foo:": "foo:", "docker://x/y": "docker://x/y",
	} {
		if got, err := s.storedImage(t.Context(), given); err != nil || got != want {
			t.Errorf("%q is %q, %v, want %q", given, got, err, want)
		}
	}
}

// TestUnverifiedText: show names what is not verified.
func TestUnverifiedText(t *testing.T) {
	for want, list := range map[string][]importer.Unverified{
		"":                             nil,
		"its commit; verify tells why": {{}},
		"layer 3; verify tells why":    {{LayerIndex: 3}},
		"its commit, layers 1, 4; verify tells why": {{}, {LayerIndex: 1}, {LayerIndex: 4}},
	} {
		if got := unverifiedText(list); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
