package ostreerepo_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// repoWithRefs lands one commit under all the names.
func repoWithRefs(t *testing.T, names ...string) (*ostreerepo.Repo, objects.Checksum) {
	t.Helper()
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	c := manyFiles(t, s, 3, 10, 0)
	for _, name := range names {
		if err := s.SetRef(name, c); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Land(t.Context()); err != nil {
		t.Fatal(err)
	}
	return repo, c
}

func refNames(refs []ostreerepo.Ref) []string {
	var names []string
	for _, ref := range refs {
		names = append(names, ref.Name)
	}
	return names
}

func TestRefs(t *testing.T) {
	repo, c := repoWithRefs(t, "a/b/one", "a/b/two", "a/bc", "a/b.d", "z")
	for prefix, want := range map[string][]string{
		"":        {"a/b.d", "a/b/one", "a/b/two", "a/bc", "z"},
		"a":       {"a/b.d", "a/b/one", "a/b/two", "a/bc"},
		"a/b":     {"a/b/one", "a/b/two"},
		"a/b/one": nil,
		"nothing": nil,
		"z/below": nil,
	} {
		refs, err := repo.Refs(prefix)
		if err != nil || !slices.Equal(refNames(refs), want) {
			t.Errorf("below %q are %q, %v instead of %q", prefix, refNames(refs), err, want)
		}
		for _, ref := range refs {
			if ref.Err != nil || ref.Commit != c {
				t.Errorf("%+v", ref)
			}
		}
	}
	if _, err := repo.Refs("../heads"); err == nil {
		t.Error("a prefix that leads elsewhere is accepted")
	}
}

// TestBrokenRefs is about what a crash or a careless hand leaves: it must harm nothing else.
func TestBrokenRefs(t *testing.T) {
	repo, c := repoWithRefs(t, "a/good")
	heads := filepath.Join(repo.Path(), "refs/heads/a")
	for name, content := range map[string]string{"empty": "", "text": "no checksum\n", "long": strings.Repeat("0", 1000)} {
		if err := os.WriteFile(filepath.Join(heads, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(heads, "not a ref"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	refs, err := repo.Refs("a")
	if want := []string{"a/empty", "a/good", "a/long", "a/text"}; err != nil || !slices.Equal(refNames(refs), want) {
		t.Fatalf("got %q, %v instead of %q", refNames(refs), err, want)
	}
	for _, ref := range refs {
		if good := ref.Name == "a/good"; good != (ref.Err == nil) || good != (ref.Commit == c) {
			t.Errorf("%+v", ref)
		}
		if ref.Err != nil && !errors.Is(ref.Err, ostreerepo.ErrCorrupted) {
			t.Errorf("%s: %v", ref.Name, ref.Err)
		}
	}
	if _, err := repo.Resolve("a/empty"); !errors.Is(err, ostreerepo.ErrCorrupted) {
		t.Errorf("got %v", err)
	}
	if err := repo.DeleteRefs(t.Context(), "a/empty"); err != nil {
		t.Error(err)
	}
	if err := repo.SetRef(t.Context(), "a/text", c); err != nil {
		t.Error(err)
	}
	s := newStaging(t, repo)
	landRef(t, s, "a/long", c)
	for _, name := range []string{"a/text", "a/long"} {
		if got, err := repo.Resolve(name); err != nil || got != c {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
}

func TestResolve(t *testing.T) {
	repo, c := repoWithRefs(t, "a/b")
	if got, err := repo.Resolve("a/b"); err != nil || got != c {
		t.Errorf("got %s, %v", got, err)
	}
	for _, name := range []string{"a", "a/b/c", "c", "", "/a/b", "a//b", "a/b/", "../heads/a/b", "a/./b", "-a", "a b", "ü", strings.Repeat("n", 256)} {
		if got, err := repo.Resolve(name); !errors.Is(err, ostreerepo.ErrNoRef) {
			t.Errorf("%q is %s, %v", name, got, err)
		}
	}
}

func TestSetRef(t *testing.T) {
	repo, c := repoWithRefs(t, "a/b")
	for _, name := range []string{"new", "new", "x/y.z/_1-2"} {
		if err := repo.SetRef(t.Context(), name, c); err != nil {
			t.Error(err)
		}
		if got, err := repo.Resolve(name); err != nil || got != c {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
	if err := repo.SetRef(t.Context(), "dangling", objects.ChecksumOf(nil)); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{"a", "a/b/c"} {
		var failed *command.Error
		if err := repo.SetRef(t.Context(), name, c); !errors.As(err, &failed) {
			t.Errorf("%s, which is beside a/b: %v", name, err)
		}
	}
	s := newStaging(t, repo)
	for _, name := range []string{"", "../x", "-x", "a b"} {
		if repo.SetRef(t.Context(), name, c) == nil || s.SetRef(name, c) == nil || repo.DeleteRefs(t.Context(), name) == nil {
			t.Errorf("%q is accepted", name)
		}
	}
}

// TestDeleteRef also asserts that a name which is a prefix of others deletes none of them.
func TestDeleteRef(t *testing.T) {
	repo, _ := repoWithRefs(t, "a/b", "a/b.c", "a/bc", "d")
	for _, name := range []string{"a", "a/b/c", "nothing", "a/b", "a/b"} {
		if err := repo.DeleteRefs(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	refs, err := repo.Refs("")
	if want := []string{"a/b.c", "a/bc", "d"}; err != nil || !slices.Equal(refNames(refs), want) {
		t.Errorf("left are %q, %v instead of %q", refNames(refs), err, want)
	}
}

func TestPrune(t *testing.T) {
	repo, c := repoWithRefs(t, "a/b")
	if err := repo.Prune(t.Context()); err != nil || !repo.Has(objects.KindCommit, c) {
		t.Errorf("%v: has it: %v", err, repo.Has(objects.KindCommit, c))
	}
	if err := repo.DeleteRefs(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if err := repo.Prune(t.Context()); err != nil || repo.Has(objects.KindCommit, c) {
		t.Errorf("%v: has it: %v", err, repo.Has(objects.KindCommit, c))
	}
}
