package encapsulate_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestCopy wants texts of the commit's metadata as labels, before the work is done.
func TestCopy(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"usr/file": {content: "x"}},
		"--add-metadata-string=build.id=7", "--add-metadata-string=empty=", "--add-metadata=flag=true", "--add-metadata-string=ostree.commit=false")
	opts := encapsulate.Options{
		Copy: []string{"build.id", "empty", "ostree.commit"}, CopyOptional: []string{"none", "build.id"}, Labels: map[string]string{"own": "1"},
	}
	dir := t.TempDir() + "/layout"
	m, config := documents(t, dir, write(t, repo, c, dir, opts))
	labels := config.Config.Labels
	if labels["build.id"] != "7" || labels["own"] != "1" || labels["ostree.commit"] != c.String() || !maps.Equal(labels, m.Annotations) {
		t.Errorf("%v", labels)
	}
	if _, there := labels["none"]; there {
		t.Errorf("%v", labels)
	}
	if _, there := labels["empty"]; !there {
		t.Errorf("%v", labels)
	}
	for _, opts := range []encapsulate.Options{{Copy: []string{"none"}}, {Copy: []string{"flag"}}, {CopyOptional: []string{"flag"}}} {
		if _, err := tryWrite(t.Context(), repo, c, t.TempDir()+"/x", opts); !errors.Is(err, encapsulate.ErrNoKey) {
			t.Errorf("%+v: %v", opts, err)
		}
	}
}

// TestContainerConfig wants all of a config kept, but for what the other options say.
func TestContainerConfig(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{"usr/file": {content: "x"}})
	base, err := encapsulate.ParseConfig([]byte(`{"Env": ["A=b"], "Entrypoint": ["/init"], "Cmd": ["old"], "User": "7",
		"Labels": {"a": "base", "b": "base"}, "Healthcheck": {"Interval": 30000000000}, "StopSignal": "SIGRTMIN+3"}`))
	check(t, err)
	dir := t.TempDir()
	result := write(t, repo, c, dir+"/a", encapsulate.Options{Config: base, Cmd: []string{"new"}, Labels: map[string]string{"b": "own"}})
	m, config := documents(t, dir+"/a", result)
	run := config.Config
	if run.User != "7" || run.StopSignal != "SIGRTMIN+3" || !slices.Equal(run.Env, []string{"A=b"}) || !slices.Equal(run.Entrypoint, []string{"/init"}) ||
		!slices.Equal(run.Cmd, []string{"new"}) || run.Labels["a"] != "base" || run.Labels["b"] != "own" || m.Annotations["a"] != "" {
		t.Errorf("%+v", run)
	}
	if raw := string(readBlob(t, dir+"/a", result.ConfigDigest)); !strings.Contains(raw, `"Healthcheck":{"Interval":30000000000}`) {
		t.Error(raw)
	}
	if _, config := documents(t, dir+"/b", write(t, repo, c, dir+"/b", encapsulate.Options{Config: base})); !slices.Equal(config.Config.Cmd, []string{"old"}) {
		t.Errorf("%+v", config.Config)
	}
	unencapsulate(t, dir+"/a", result, ostreerepo.ModeBareUser)
	for _, text := range []string{``, `null`, `[]`, `"x"`, `{"Env": "x"}`, `{"User": "a", "User": "b"}`, `{} {}`, `{"Labels": {"a": 1}}`} {
		if got, err := encapsulate.ParseConfig([]byte(text)); err == nil {
			t.Errorf("%s is taken as %s", text, got)
		}
	}
}

// TestContentMap parts a commit by what it is told.
func TestContentMap(t *testing.T) {
	files := debianFiles("var/lib/dpkg/info/") // which does not count
	repo, c := commitFiles(t, ostreerepo.ModeArchive, files)
	m, err := encapsulate.ParseContentMap([]byte(`{"components": {
		"boot": {"changes": 1048576, "paths": ["/usr/lib/modules"]},
		"shell": {"changes": 1048576, "paths": ["usr/bin/bash", "/etc/bash.bashrc", "/none", ""]},
		"library": {"changes": 0, "paths": ["/lib64", "/usr/lib"]},
		"link": {"paths": ["/bin/zlib"]}}}`))
	check(t, err)
	dir := t.TempDir() + "/layout"
	r := write(t, repo, c, dir, encapsulate.Options{Content: m})
	if r.Chunking != encapsulate.ChunkingMap || r.Note != "" {
		t.Errorf("by %s (%s)", r.Chunking, r.Note)
	}
	held := make(map[string]string) // by path, what else is in the layer
	for _, l := range r.Layers {
		for _, at := range places(t, dir, l) {
			held[at] = strings.Join(l.Components, ",")
		}
	}
	if held["usr/bin/bash"] != "shell" || held["etc/bash.bashrc"] != "shell" || held["usr/lib/modules/1/linux"] != "boot" ||
		!strings.Contains(held["usr/lib/libc.so.6"], "library") || !strings.Contains(held["usr/bin/zlib"], "link") {
		t.Errorf("%q", held)
	}
	unencapsulate(t, dir, r, ostreerepo.ModeBare)
	for _, text := range []string{
		``, `null`, `{}`, `{"components": {}}`, `{"components": {"": {}}}`, `{"components": {"a,b": {}}}`, `{"components": {"a": {"changes": -1}}}`,
		`{"components": {"a": {"changes": 1048577}}}`, `{"components": {"a": {"changes": 1.5}}}`, `{"components": {"a": {"path": []}}}`,
		`{"components": {"a": {"paths": "x"}}}`, `{"components": {"a": {}, "a": {}}}`, `{"components": {"a": {}}, "more": 1}`, `{"components": {"a": {}}} x`,
	} {
		if got, err := encapsulate.ParseContentMap([]byte(text)); err == nil {
			t.Errorf("%s is taken as %+v", text, got)
		}
	}
}

// TestContentMapOfEverything gives the whole commit to the directory above all, and the nearest one
// counts.
func TestContentMapOfEverything(t *testing.T) {
	repo, c := commitFiles(t, ostreerepo.ModeArchive, map[string]node{
		"top": {content: "top"}, "a/b/c/file": {content: "deep"}, "a/file": {content: "a"}, "again": {content: "again"},
	})
	for paths, want := range map[string]string{
		`"x": {"paths": ["/"]}`: "x",
		`"x": {"paths": ["/"], "changes": 1000000}, "y": {"paths": ["/a/b"], "changes": 1000000}`: "x y",
		`"y": {"paths": ["/a/b"]}, "z": {"paths": ["/a/b/"]}`:                                     "unpackaged-content,y",
	} {
		m, err := encapsulate.ParseContentMap([]byte(fmt.Sprintf(`{"components": {%s}}`, paths)))
		check(t, err)
		dir := t.TempDir() + "/layout"
		got := chunks(t, dir, write(t, repo, c, dir, encapsulate.Options{Content: m}))
		if strings.TrimSpace(strings.Join(got, " ")) != want {
			t.Errorf("%s: %q, want %q", paths, got, want)
		}
	}
}
