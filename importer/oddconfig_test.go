package importer

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestOddConfigs: what a config says in its labels, its history and its times is data, and no
// reason to refuse an image.
func TestOddConfigs(t *testing.T) {
	for _, c := range []struct {
		name, old, new string
		replaced       bool
		want           string // a part of the stored config
	}{
		{"empty creation time", `"2026-01-02T03:04:05.678Z"`, `""`, false, `"created":""`},
		{"creation time that is none", `"2026-01-02T03:04:05.678Z"`, `"yesterday"`, false, `"created":"yesterday"`},
		{"number as creation time", `"2026-01-02T03:04:05.678Z"`, `1e3`, false, `"created":1000`},
		{"list as creation time", `"2026-01-02T03:04:05.678Z"`, `[[]]`, false, `"created":[[]]`},
		{"label that is no text", `"linux"`, `"linux","config":{"Labels":{"a":1,"version":"3"}}`, true, `"Labels":{"`},
		{"labels that are no labels", `"config":{"Labels":{`, `"config":{"Labels":[1],"Entrypoint":{`, false, `"Labels":[1]`},
		{"history that is none", `"linux"`, `"linux","history":"long"`, false, `"history":"long"`},
		{"steps that are none", `"linux"`, `"linux","history":[null,1,{"created":1,"created_by":[]},{"empty_layer":"no"}]`, false, `{"created":1,`},
		{"repeated key", `"linux"`, `"linux","os":"other"`, true, `"os":"other"`},
		{"repeated label", `"config":{"Labels":{`, `"config":{"Labels":{"a":"1","a":"2",`, true, `"a":"2"`},
		{"lone surrogate", `"linux"`, `"\ud800"`, true, "\"os\":\"\ufffd\""},
		{"not UTF-8", `"linux"`, "\"\xff\"", true, "\"os\":\"\ufffd\""},
		{"large number", `"linux"`, `1e400`, true, `"os":1.7976931348623157e+308`},
	} {
		t.Run(c.name, func(t *testing.T) {
			image := twoLayers(t)
			odd := strings.Replace(string(image.rawConfig), c.old, c.new, 1)
			if odd == string(image.rawConfig) {
				t.Fatalf("%s is not in %s", c.old, image.rawConfig)
			}
			setConfig(t, image, odd)
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
			res := h.mustPull(Request{Image: testName})
			if !h.mustPull(Request{Image: testName}).AlreadyPresent {
				t.Error("the second import is not of the same image")
			}
			checkOddConfig(t, h, res.Commit, c.want)
			commit, err := h.repo.Commit(mustChecksum(t, res.Commit))
			h.must(err)
			kept, ok := commit.Metadata["ostree-importd.config-digest"].AsString()
			if ok != c.replaced || ok && kept != image.manifest.Config.Digest.String() {
				t.Errorf("the kept digest is %q, want %s if %v", kept, image.manifest.Config.Digest, c.replaced)
			}
			verified, err := h.im.Verify(t.Context(), VerifyRequest{Images: []string{testName}}, nil)
			if h.must(err); verified.Count(StateGood) != 1 {
				t.Errorf("verify: %s", toJSON(t, verified))
			}
		})
	}
}

// setConfig makes an image have the config that is written so.
func setConfig(t *testing.T, image *testImage, raw string) {
	t.Helper()
	image.rawConfig = []byte(raw)
	image.manifest.Config.Digest = digest.FromString(raw)
	var err error
	if image.rawManifest, err = json.Marshal(image.manifest); err != nil {
		t.Fatal(err)
	}
	image.digest = digest.FromBytes(image.rawManifest)
}

// checkOddConfig wants the stored config to be valid JSON with a part in it.
func checkOddConfig(t *testing.T, h *testHost, commit, want string) {
	t.Helper()
	c, err := h.repo.Commit(mustChecksum(t, commit))
	h.must(err)
	stored, _ := c.Metadata["ostree.container.image-config"].AsString()
	if !json.Valid([]byte(stored)) || !strings.Contains(stored, want) {
		t.Errorf("the stored config is %s, want %s in it", stored, want)
	}
}
