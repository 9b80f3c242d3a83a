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
	cases := slices.Concat(mergeCases, linkCases, movedCases)
	layers, want := make([][]objects.Checksum, len(cases)), make([]objects.Checksum, len(cases))
	r.stage(func(st *ostreerepo.Staging) {
		for i, c := range cases {
			for _, lines := range c.layers {
				layers[i] = append(layers[i], r.writeTree(st, lines, c.foreign))
			}
			want[i] = r.writeTree(st, c.want, true)
		}
	})
	got := make([]objects.Checksum, len(cases))
	r.stage(func(st *ostreerepo.Staging) {
		for i, c := range cases {
			tree, err := Merge(context.Background(), st, nil, layers[i], Options{Rules: c.rules, Repo: r.repo})
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

func TestMergeOverBase(t *testing.T) {
	r := newTestRepo(t)
	// A base is a tree, not a layer: names that look like markers are files in it.
	base, err := r.repo.Commit(r.commit([]string{"d . 711", "f a/.wh.x 1", "f a/y 1"}))
	r.must(err)
	layer := r.commit([]string{"f a/.wh.y", "f b/z 2"})
	want, err := r.repo.Commit(r.commit([]string{"d . 711", "f a/.wh.x 1", "f b/z 2"}))
	r.must(err)
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	got, err := Merge(context.Background(), st, &base, []objects.Checksum{layer}, Options{Repo: r.repo})
	r.must(err)
	if got != (Tree{Tree: want.Tree, Meta: want.Meta}) {
		t.Errorf("merged tree %s %s, want %s %s", got.Tree, got.Meta, want.Tree, want.Meta)
	}
}

// mergeError merges layers that can't be merged.
func (r *testRepo) mergeError(layers []objects.Checksum) error {
	r.Helper()
	st, err := r.repo.NewStaging()
	r.must(err)
	defer func() { r.must(st.Close()) }()
	_, err = Merge(context.Background(), st, nil, layers, Options{Repo: r.repo})
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
	if _, err := Merge(ctx, st, nil, []objects.Checksum{layer}, Options{Repo: r.repo}); !errors.Is(err, context.Canceled) {
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
	if _, err := Merge(ctx, st, nil, layers, Options{Repo: r.repo}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled", err)
	}
}
