package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// policy loads a policy that tells the directories of the cases from each other, and files from
// directories.
func (r *testRepo) policy(more ...string) *selinux.Policy {
	r.Helper()
	specs := []string{"/.* system_u:object_r:default_t:s0", "/.* -d system_u:object_r:default_dir_t:s0"}
	for _, dir := range []string{
		"a", "b", "c", "d", "e", "lib", "conf", "opt", "srv", "home", "root", "bin", "var", "var/srv", "var/home", "usr", "usr/bin", "usr/lib", "usr/share",
		"usr/share/factory", "usr/share/factory/var", "usr/share/factory/var/srv", "usr/etc", "usr/etc/alt", "usr/etc/conf",
	} {
		label := "system_u:object_r:" + strings.ReplaceAll(dir, "/", "_")
		specs = append(specs, fmt.Sprintf("/%s(/.*)? %s_t:s0", dir, label), fmt.Sprintf("/%s(/.*)? -d %s_dir_t:s0", dir, label))
	}
	specs = append(append(specs, "/.*/plain <<none>>"), more...)
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	root := newNode()
	for path, content := range map[string]string{
		"usr/etc/selinux/config": "SELINUX=enforcing\nSELINUXTYPE=test\n", "usr/etc/selinux/test/policy/policy.33": "binary",
		"usr/etc/selinux/test/contexts/files/file_contexts": strings.Join(specs, "\n") + "\n",
	} {
		file, err := st.WriteFile(objects.FileHeader{Mode: 0o100644}, int64(len(content)), strings.NewReader(content))
		r.must(err)
		dir, name := split(path)
		at := root
		for part := range strings.SplitSeq(dir, "/") {
			if at.dirs[part] == nil {
				at.dirs[part] = newNode()
			}
			at = at.dirs[part]
		}
		at.files[name] = file
	}
	tree, _ := r.writeNode(st, root)
	p, err := selinux.Load(context.Background(), st, tree)
	r.must(err)
	if p == nil {
		r.Fatal("the policy is not one")
	}
	return p
}

// label gives an image with the labels of the policy.
func (img image) label(r *testRepo, st *ostreerepo.Staging, p *selinux.Policy) image {
	r.Helper()
	if img.base != nil {
		base := *img.base
		root, _, err := selinux.Relabel(context.Background(), st, objects.TreeDir{Tree: base.Tree, Meta: base.Meta}, p, "/")
		r.must(err)
		base.Tree, base.Meta = root.Tree, root.Meta
		img.base = &base
	}
	layers := slices.Clone(img.layers)
	for i, layer := range layers {
		c, err := st.Commit(layer)
		r.must(err)
		root, _, err := selinux.RelabelLayer(context.Background(), st, objects.TreeDir{Tree: c.Tree, Meta: c.Meta}, p)
		r.must(err)
		c.Tree, c.Meta = root.Tree, root.Meta
		layers[i] = r.write(st, c)
	}
	img.layers = layers
	return img
}

// TestMergeLabels wants the merge of labelled layers to be as if the whole merged tree had been
// labelled.
func TestMergeLabels(t *testing.T) {
	r := newTestRepo(t)
	p := r.policy()
	moved := []mergeCase{
		{
			name:   "everything moves with its link",
			base:   []string{"l home var/home", "d var", "f var/home/old/x 1", "d var/home/there 700"},
			layers: [][]string{{"d home/new 711 5 attr", "f home/new/x 2", "l home/new/l x", "f home/new/plain 2", "d home/new/dir.plain", "f home/old/y 2", "d home/there 711", "f home/old/.wh.x"}},
		},
		{
			name:   "a link behind a link",
			base:   []string{"l a b", "l b/c ../d", "l d/e /usr/lib/e", "f b/x 1"},
			layers: [][]string{{"f a/c/e/new/x 2", "f a/c/y 2", "f a/x 2"}, {"f a/c/e/new/.wh.x", "f a/c/e/z 3"}},
		},
		{
			name:   "into directories that are made",
			rules:  layertar.Rules{FactoryVar: true},
			base:   []string{"l srv var/srv/deep/er"},
			layers: [][]string{{"f srv/x 2"}},
		},
	}
	cases := slices.Concat(mergeCases, linkCases, movedCases, baseCases, tidyCases, moved)
	got, want := make([]objects.Checksum, len(cases)), make([]objects.Checksum, len(cases))
	r.stage(func(st *ostreerepo.Staging) {
		for i, c := range cases {
			img := r.writeImage(st, c)
			tree, err := Merge(t.Context(), st, img.base, img.layers, Options{Rules: c.rules})
			r.must(err)
			root, _, err := selinux.Relabel(t.Context(), st, objects.TreeDir{Tree: tree.Tree, Meta: tree.Meta}, p, "/")
			r.must(err)
			want[i] = r.write(st, objects.Commit{Tree: root.Tree, Meta: root.Meta})

			img = img.label(r, st, p)
			tree, err = Merge(t.Context(), st, img.base, img.layers, Options{Rules: c.rules, Labels: p})
			r.must(err)
			got[i] = r.write(st, objects.Commit{Tree: tree.Tree, Meta: tree.Meta})
		}
	})
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got[i] != want[i] {
				t.Errorf("merged tree:\n%s\nwant:\n%s", r.list(got[i]), r.list(want[i]))
			}
		})
	}
	r.must(r.repo.Fsck(t.Context()))
}

// TestMergeLabelError wants no tree with labels that may be wrong.
func TestMergeLabelError(t *testing.T) {
	r := newTestRepo(t)
	p := r.policy("/x/(a+a+)+(?=c)b system_u:object_r:slow_t:s0")
	if _, ok := p.Xattr("/x/"+strings.Repeat("a", 60), 0o100644); ok || p.Err() == nil {
		t.Fatal("the look-up has not taken too long")
	}
	layer := r.commit([]string{"f a 1"})
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	if tree, err := Merge(t.Context(), st, nil, []objects.Checksum{layer}, Options{Labels: p}); !errors.Is(err, selinux.ErrUnusable) {
		t.Errorf("Merge = %v, %v", tree, err)
	}
}
