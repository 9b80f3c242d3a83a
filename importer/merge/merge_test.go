package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

func TestMerge(t *testing.T) {
	r := newTestRepo(t)
	cases := slices.Concat(mergeCases, linkCases, movedCases, baseCases, tidyCases)
	images, want := make([]image, len(cases)), make([]objects.Checksum, len(cases))
	r.stage(func(st *ostreerepo.Staging) {
		for i, c := range cases {
			images[i] = r.writeImage(st, c)
			want[i] = r.writeTree(st, c.want, true)
		}
	})
	got := make([]objects.Checksum, len(cases))
	r.stage(func(st *ostreerepo.Staging) {
		for i, c := range cases {
			tree, err := Merge(context.Background(), st, images[i].base, images[i].layers, Options{Rules: c.rules})
			if err != nil {
				t.Fatalf("%s: %v", c.name, err)
			}
			got[i] = r.write(st, objects.Commit{Tree: tree.Tree, Meta: tree.Meta})
		}
	})
	for i, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			// The commits are alike but for their trees, so equal trees make equal commits.
			if got[i] != want[i] {
				t.Errorf("merged tree:\n%s\nwant:\n%s", r.list(got[i]), r.list(want[i]))
			}
		})
	}
	r.must(r.repo.Fsck(context.Background()))
}

// image is what is merged.
type image struct {
	base   *objects.Commit
	layers []objects.Checksum
}

// writeImage writes the base and the layers of a case.
func (r *testRepo) writeImage(st *ostreerepo.Staging, c mergeCase) (img image) {
	r.Helper()
	if c.base != nil {
		base, err := st.Commit(r.writeTree(st, c.base, true))
		r.must(err)
		img.base = &base
	}
	for _, lines := range c.layers {
		img.layers = append(img.layers, r.writeTree(st, lines, c.foreign))
	}
	return img
}

// TestMergeInParts wants the merge of some layers, taken as a base, to stand for them.
func TestMergeInParts(t *testing.T) {
	r := newTestRepo(t)
	type part struct {
		name      string
		got, want objects.Checksum
	}
	var parts []part
	r.stage(func(st *ostreerepo.Staging) {
		merged := func(c mergeCase, img image) objects.Commit {
			tree, err := Merge(t.Context(), st, img.base, img.layers, Options{Rules: c.rules})
			r.must(err)
			return objects.Commit{Tree: tree.Tree, Meta: tree.Meta}
		}
		for _, c := range slices.Concat(mergeCases, linkCases, movedCases, baseCases, tidyCases) {
			if c.whole {
				continue
			}
			img := r.writeImage(st, c)
			want := r.write(st, merged(c, img))
			for i := range img.layers {
				base := merged(c, image{img.base, img.layers[:i+1]})
				got := r.write(st, merged(c, image{&base, img.layers[i+1:]}))
				parts = append(parts, part{fmt.Sprintf("%s/%d", c.name, i+1), got, want})
			}
		}
	})
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			if p.got != p.want {
				t.Errorf("merged tree:\n%s\nwant:\n%s", r.list(p.got), r.list(p.want))
			}
		})
	}
}

// mergeError merges layers that can't be merged.
func (r *testRepo) mergeError(layers []objects.Checksum) error {
	r.Helper()
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	_, err = Merge(context.Background(), st, nil, layers, Options{})
	return err
}

func TestMergeErrors(t *testing.T) {
	r := newTestRepo(t)
	var farLinks, farEntries []string
	for i := range 34 {
		farLinks = append(farLinks, fmt.Sprintf("l l%02d %d/%sx", i, i, strings.Repeat("a/", 1998)))
		farEntries = append(farEntries, fmt.Sprintf("f l%02d/x 1", i))
	}
	cases := []struct {
		name   string
		layers [][]string
		index  int
		entry  string
		want   string
	}{
		{"links that lead to themselves", [][]string{{"l a b", "l b a"}, {"f a/x 1"}}, 2, `"a"`, "symbolic links"},
		{"a link to the root and there to etc", [][]string{{"l a ."}, {}, {"f a/etc/x 1"}}, 3, `"a"`, `"etc"`},
		{"a whiteout through a link to the root", [][]string{{"l a ."}, {"f a/.wh.etc"}}, 2, `"a"`, `"etc"`},
		{"links to very many missing directories", [][]string{farLinks, farEntries}, 2, `"l32"`, "missing directories"},
		{"a file in the place of usr with etc", [][]string{{"f usr/etc/x 1"}, {"f usr 2"}}, 2, `"usr"`, "/etc"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := &testRepo{TB: t, repo: r.repo}
			var layers []objects.Checksum
			for _, lines := range c.layers {
				layers = append(layers, r.commit(lines))
			}
			err := r.mergeError(layers)
			var layer *LayerError
			var entry *layertar.EntryError
			if !errors.As(err, &layer) || !errors.As(err, &entry) {
				t.Fatalf("error %v, want an EntryError in a LayerError", err)
			}
			if layer.Index != c.index || entry.Entry != c.entry || !strings.Contains(entry.Err.Error(), c.want) {
				t.Errorf("layer %d, entry %s: %v; want layer %d, entry %s: …%s…", layer.Index, entry.Entry, entry.Err, c.index, c.entry, c.want)
			}
		})
	}
}

func TestMergeMissingLayer(t *testing.T) {
	r := newTestRepo(t)
	layer := r.commit([]string{"f a 1"})
	err := r.mergeError([]objects.Checksum{layer, {1}})
	var failed *LayerError
	if !errors.Is(err, ostreerepo.ErrNoObject) || !errors.As(err, &failed) || failed.Index != 2 {
		t.Errorf("error %v, want ErrNoObject of layer 2", err)
	}
}

func TestMergeCanceled(t *testing.T) {
	r := newTestRepo(t)
	layer := r.commit([]string{"f a/b 1"})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	if _, err := Merge(ctx, st, nil, []objects.Checksum{layer}, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}

// endingContext ends when it has been asked for a number of times.
type endingContext struct {
	context.Context
	asked int
}

func (c *endingContext) Err() error {
	if c.asked--; c.asked < 0 {
		return context.Canceled
	}
	return nil
}

// TestMergeCanceledOnItsWay: a path can lead a long way through links without anything to read.
func TestMergeCanceledOnItsWay(t *testing.T) {
	r := newTestRepo(t)
	layers := []objects.Checksum{r.commit([]string{"d b", "l a " + strings.Repeat("b/../", 800) + "b"}), r.commit([]string{"f a/x 1"})}
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	ctx := &endingContext{Context: context.Background(), asked: 400}
	if _, err := Merge(ctx, st, nil, layers, Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
