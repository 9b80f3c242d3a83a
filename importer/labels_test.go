package importer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// policyLines are a policy that labels /usr/bin with the given type and everything else with
// default_t, below a directory.
func policyLines(etc, binType string) []string {
	dir := etc + "/selinux"
	return []string{
		"d " + dir + " 755", "f " + dir + "/config SELINUX=enforcing|SELINUXTYPE=test", "d " + dir + "/test 755", "d " + dir + "/test/policy 755",
		"f " + dir + "/test/policy/policy.33 binary", "d " + dir + "/test/contexts 755", "d " + dir + "/test/contexts/files 755",
		"f " + dir + "/test/contexts/files/file_contexts " + strings.Join([]string{
			"/.* system_u:object_r:default_t:s0", "/usr/bin(/.*)? system_u:object_r:" + binType + ":s0", "",
		}, "|"),
	}
}

// label gives the type of the label that a path has in a commit, "" for none.
func (h *testHost) label(rev, path string) string {
	h.Helper()
	c, err := h.repo.Commit(mustChecksum(h, strings.TrimSpace(h.ostree("rev-parse", rev))))
	h.must(err)
	found, err := ostreerepo.Lookup(h.repo, c.Tree, path)
	h.must(err)
	if !found.Exists() {
		h.Fatalf("%s has no %s", rev, path)
	}
	if found.IsDir() {
		m, err := h.repo.DirMeta(found.Dir.Meta)
		h.must(err)
		for _, x := range m.Xattrs {
			if x.Name == selinux.XattrName {
				return strings.Split(string(x.Value), ":")[2]
			}
		}
		return ""
	}
	header, content, err := h.repo.OpenFile(found.File)
	h.must(err)
	h.must(content.Close())
	for _, x := range header.Xattrs {
		if x.Name == selinux.XattrName {
			return strings.Split(string(x.Value), ":")[2]
		}
	}
	return ""
}

// checkLabels compares labels that are written as PATH=TYPE.
func (h *testHost) checkLabels(rev string, want ...string) {
	h.Helper()
	for _, one := range want {
		path, label, _ := strings.Cut(one, "=")
		if got := h.label(rev, path); got != label {
			h.Errorf("%s: %s has the label %q, want %q", rev, path, got, label)
		}
	}
}

func TestLabels(t *testing.T) {
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive} {
		t.Run(string(mode), func(t *testing.T) {
			s := newSystem(t, slices.Concat(plainSystem, policyLines("usr/etc", "bin_t")))
			image := s.image(1, []string{"d usr/bin 700", "f usr/bin/new 1", "f usr/bin/.wh.ls", "f usr/lib/new 1"})
			h := newHost(t, mode, newRegistry(testName, image))
			h.mustPull(Request{Image: testName})
			h.checkLabels(testRef, "usr/bin=bin_t", "usr/bin/new=bin_t", "usr/lib/new=default_t", "usr/lib/libc=", "usr/bin/sh=")
			h.checkLabels(image.ref(t, 2), "usr/bin/new=bin_t", "usr/bin/.wh.ls=")
			if h.metadata(image.ref(t, 2), layertar.MetaPolicy) == "" {
				t.Error("the layer's commit does not say by which policy it was labelled")
			}
			h.checkClean(h.refs())
		})
	}
}

// TestLabelsOfAnotherPolicy: when the layers bring another policy, that labels everything.
func TestLabelsOfAnotherPolicy(t *testing.T) {
	withPolicy := slices.Concat(plainSystem, policyLines("usr/etc", "bin_t"))
	cases := []struct {
		name  string
		image func(t *testing.T) *testImage
		want  []string
	}{
		{"changed", func(t *testing.T) *testImage {
			return newSystem(t, withPolicy).image(1, []string{"f usr/bin/new 1"}, policyLines("etc", "other_t"))
		}, []string{"usr/bin=other_t", "usr/bin/new=other_t", "usr/bin/sh=other_t", "usr/lib/libc=default_t", "usr/etc/selinux/config=default_t"}},
		{"added", func(t *testing.T) *testImage {
			return newSystem(t, plainSystem).image(1, []string{"f usr/bin/new 1"}, policyLines("etc", "other_t"))
		}, []string{"usr/bin/new=other_t", "usr/bin/sh=other_t", "usr/lib/libc=default_t"}},
		{"removed", func(t *testing.T) *testImage {
			return newSystem(t, withPolicy).image(1, []string{"f usr/bin/new 1", "f etc/.wh.selinux"})
		}, []string{"usr/bin/new=bin_t", "usr/bin/sh="}},
		{"of a plain image", func(t *testing.T) *testImage {
			return newImage(t, []string{"f usr/bin/sh 1", "f usr/lib/libc 1"}, policyLines("etc", "bin_t"))
		}, []string{"usr/bin/sh=bin_t", "usr/lib/libc=default_t", "usr=default_t"}},
		{"without its binary form, of a plain image", func(t *testing.T) *testImage {
			return newImage(t, []string{"f usr/bin/sh 1"}, append(policyLines("etc", "bin_t"), "f etc/selinux/test/policy/.wh.policy.33"), []string{"f etc/selinux/test/.wh.policy"})
		}, []string{"usr/bin/sh="}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, c.image(t)))
			h.mustPull(Request{Image: testName})
			h.checkLabels(testRef, c.want...)
			h.checkClean(h.refs())
		})
	}
}

// TestUnusablePolicy: layers on a system can't be labelled by a policy that libostree would refuse.
func TestUnusablePolicy(t *testing.T) {
	lines := slices.DeleteFunc(slices.Concat(plainSystem, policyLines("usr/etc", "bin_t")), func(line string) bool { return strings.Contains(line, "policy.33") })
	s := newSystem(t, lines)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, s.image(1, []string{"f usr/bin/new 1"})))
	if _, err := h.pull(Request{Image: testName}); KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), "SELinux policy") {
		t.Errorf("error %v, want kind UnsupportedImage", err)
	}
	// Without layers there is nothing to label.
	h.registry.images[testName] = s.image(1)
	h.mustPull(Request{Image: testName})
	h.checkClean(h.refs())
}

// TestLayerUnderAnotherPolicy: a layer that is stored under one policy and wanted under another is
// not fetched again, and is as if it had been.
func TestLayerUnderAnotherPolicy(t *testing.T) {
	layer := []string{"d usr/bin 755", "f usr/bin/new 1", "f usr/lib/.wh.libc", "f usr/lib/new 1"}
	system := func(binType string) *testImage {
		lines := plainSystem
		if binType != "" {
			lines = slices.Concat(plainSystem, policyLines("usr/etc", binType))
		}
		return newSystem(t, lines).image(0, layer)
	}
	none, one, two := system(""), system("one_t"), system("two_t")
	const name = "docker://example.com/os:"
	images := map[string]*testImage{name + "none": none, name + "one": one, name + "two": two}
	fresh := func(tag string) *Result {
		h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: images})
		return h.mustPull(Request{Image: name + tag})
	}
	for _, c := range []struct {
		tags    string
		fetched int
	}{
		{"none one", 1}, {"one two", 1}, {"two one", 1}, {"none two", 1},
		{"one none", 2}, // labels are not taken away: what was there before is not known
	} {
		t.Run(c.tags, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, &testRegistry{images: images})
			first, second, _ := strings.Cut(c.tags, " ")
			h.mustPull(Request{Image: name + first})
			h.registry.requested()
			res, want := h.mustPull(Request{Image: name + second}), fresh(second)
			if n := h.registry.requested(); n != c.fetched {
				t.Errorf("%d layers were fetched, want %d", n, c.fetched)
			}
			if res.Commit != want.Commit || res.Layers[1].Commit != want.Layers[1].Commit || strings.TrimSpace(h.ostree("rev-parse", res.Layers[1].Ref)) != want.Layers[1].Commit {
				t.Errorf("result %+v, want as if it were new %+v", res, want)
			}
			h.checkClean(h.refs())
			if again := h.mustPull(Request{Image: name + first}); !again.AlreadyPresent {
				t.Error("the first image is no longer complete")
			}
		})
	}
}

// TestForeignLayerOnABase: a layer that another importer has stored is fetched again: nothing is
// known of what it was made from.
func TestForeignLayerOnABase(t *testing.T) {
	s := newSystem(t, slices.Concat(plainSystem, policyLines("usr/etc", "bin_t")))
	image := s.image(0, []string{"f usr/bin/new 1"})
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	dir := t.TempDir()
	writeFile(t, dir+"/layer.tar", archive(t, "d . 700 7", "d usr 700 7", "d usr/bin 700 7", "f usr/bin/new evil"))
	ref := image.ref(t, 1)
	h.ostree("commit", "--no-bindings", "--add-metadata-string=ostree.importer.version=0.15.3", "--branch="+ref, "--tree=tar="+dir+"/layer.tar")
	res := h.mustPull(Request{Image: testName})
	if res.Layers[1].Cached {
		t.Errorf("layer %+v", res.Layers[1])
	}
	h.checkLabels(testRef, "usr/bin/new=bin_t", "usr/bin/sh=")
	h.checkLabels(ref, "usr/bin/new=bin_t")
	if got := h.ostree("cat", testRef, "/usr/bin/new"); got != "1" {
		t.Errorf("the file holds %q", got)
	}
	h.checkClean(h.refs())
}

// TestForeignBaseCommit: the ref of the commit's own layer may name a commit that another importer
// has read from a damaged blob.
func TestForeignBaseCommit(t *testing.T) {
	s := newSystem(t, plainSystem)
	image := s.image(0)
	image.config["config"].(map[string]any)["Labels"].(map[string]any)["ostree.commit"] = s.commit.String()
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t)))
	h.ostree("commit", "--branch="+image.ref(t, 0), "--tree=dir="+t.TempDir(), "--add-metadata-string=version=other")
	res := h.mustPull(Request{Image: testName})
	if res.Layers[0].Cached || *res.BaseCommit != s.commit.String() {
		t.Errorf("base %s by layer %+v", *res.BaseCommit, res.Layers[0])
	}
	h.checkClean(h.refs())
}

// TestCommitLabel: a label that names another commit than the one in the image makes it a bad
// image, and the commit gets no ref.
func TestCommitLabel(t *testing.T) {
	s := newSystem(t, plainSystem)
	for _, c := range []struct{ name, label string }{
		{"another commit", strings.Repeat("0", 64)}, {"no commit", "x"},
	} {
		for _, layers := range [][][]string{nil, {{"f usr/bin/new 1"}}} {
			t.Run(fmt.Sprintf("%s, %d derived layers", c.name, len(layers)), func(t *testing.T) {
				image := s.image(1, layers...)
				good := image.rawConfig
				image.config["config"].(map[string]any)["Labels"].(map[string]any)["ostree.commit"] = c.label
				h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t)))
				_, err := h.pull(Request{Image: testName})
				if KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), c.label) || !strings.Contains(err.Error(), s.commit.String()) {
					t.Errorf("error %v, want one about %s and %s", err, c.label, s.commit)
				}
				if strings.Contains(h.refs(), s.commit.String()) {
					t.Errorf("the commit has a ref: %s", h.refs())
				}
				h.checkClean(h.refs())

				// The same where the layers are stored already.
				setConfig(t, image, string(good))
				h.mustPull(Request{Image: testName})
				refs := h.refs()
				image.seal(t)
				if _, err := h.pull(Request{Image: testName}); KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), s.commit.String()) {
					t.Errorf("error %v", err)
				}
				// What was found at the origin is recorded, and nothing else changes.
				if now := h.refs(); !strings.HasSuffix(now, strings.TrimPrefix(refs, "[")) {
					t.Errorf("refs are\n%s\nwant as before\n%s", now, refs)
				}
				h.checkClean(h.refs())
			})
		}
	}
	for _, label := range []string{"", s.commit.String()} {
		image := s.image(0)
		image.config["config"].(map[string]any)["Labels"].(map[string]any)["ostree.commit"] = label
		newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image.seal(t))).mustPull(Request{Image: testName})
	}
}

// TestRewrittenLayer: a layer commit of ours that another program has labelled by another policy
// keeps the metadata that say by which policy it was labelled before. It is not ours any more.
func TestRewrittenLayer(t *testing.T) {
	needs.Tool(t, "ostree")
	layer := []string{"d usr/bin 755", "f usr/bin/new 1", "f usr/lib/new 1"}
	system := func(binType string) *testImage {
		return newSystem(t, slices.Concat(plainSystem, policyLines("usr/etc", binType))).image(1, layer)
	}
	for _, c := range []struct {
		name string
		keep func(kept objects.Dict) // what the other program keeps of the metadata
	}{
		{"all", func(objects.Dict) {}},
		{"without what it was bound to", func(kept objects.Dict) { delete(kept, layertar.MetaTree) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			const other = "docker://example.com/other:1"
			first := system("bin_t")
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, first))
			h.registry.images[other] = system("other_t")
			h.mustPull(Request{Image: testName})
			ref := first.ref(t, 2)
			read := func() objects.Commit {
				commit, err := h.repo.Resolve(ref)
				h.must(err)
				object, err := h.repo.Commit(commit)
				h.must(err)
				return object
			}
			rewritten := read()
			h.mustPull(Request{Image: other})
			relabelled := read()
			if relabelled.Tree == rewritten.Tree {
				t.Fatal("the other policy gives the same labels")
			}
			rewritten.Tree, rewritten.Meta = relabelled.Tree, relabelled.Meta
			c.keep(rewritten.Metadata)
			st, err := h.repo.NewStaging()
			h.must(err)
			commit, err := st.WriteCommit(rewritten)
			h.must(err)
			h.must(st.SetRef(ref, commit))
			h.must(st.Land(t.Context()))
			h.must(st.Close())
			h.ostree("refs", "--delete", testRef)
			h.registry.requested()

			h.mustPull(Request{Image: testName})
			if n := h.registry.requested(); n != 1 {
				t.Errorf("%d layers were fetched, want the rewritten one", n)
			}
			h.checkLabels(testRef, "usr/bin/new=bin_t")
			h.checkLabels(ref, "usr/bin/new=bin_t")
			h.checkClean(h.refs())
		})
	}
}
