package importer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestInit(t *testing.T) {
	needs.Tool(t, "ostree")
	for _, test := range []struct{ name, mode, want string }{
		{"bare", "bare", "bare"}, {"bare-user", "bare-user", "bare-user"}, {"archive", "archive", "archive"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "missing/ostree/repo")
			want := InitResult{Repository: path, Mode: test.want, Created: true}
			for _, mode := range []string{test.mode, test.mode, ""} {
				got, err := Init(t.Context(), path, InitRequest{Mode: mode})
				if err != nil {
					t.Fatal(err)
				}
				if *got != want {
					t.Errorf("got %+v, want %+v", *got, want)
				}
				want.Created = false
			}
		})
	}
}

func TestInitOfRoot(t *testing.T) {
	needs.Root(t)
	got, err := Init(t.Context(), filepath.Join(t.TempDir(), "repo"), InitRequest{})
	if err != nil || got.Mode != "bare" {
		t.Errorf("got %+v, %v", got, err)
	}
}

// TestInitGoesOn: a repository of which only a part was made is made whole.
func TestInitGoesOn(t *testing.T) {
	needs.Tool(t, "ostree")
	for _, lost := range []string{"objects", "objects refs", "objects refs state extensions tmp", "objects refs state extensions tmp config"} {
		t.Run(lost, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "repo")
			for range 2 {
				got, err := Init(t.Context(), path, InitRequest{Mode: "archive"})
				if err != nil || !got.Created || got.Mode != "archive" {
					t.Fatalf("got %+v, %v", got, err)
				}
				for name := range strings.FieldsSeq(lost) {
					if err := os.RemoveAll(filepath.Join(path, name)); err != nil {
						t.Fatal(err)
					}
				}
			}
		})
	}
}

func TestInitRefuses(t *testing.T) {
	needs.Tool(t, "ostree")
	for _, test := range []struct {
		name, mode string
		there      string // a file or, with a slash at its end, a directory
		kind       Kind
		says       string
	}{
		{"a mode that holds no owners", "bare-user-only", "", KindInvalidOption, "bare, bare-user or archive"},
		{"a mode that nobody knows", "Bare", "", KindInvalidOption, `"Bare"`},
		{"a directory of other files", "", "repo/home/", KindNotAvailable, "is no repository, and holds home"},
		{"other files beside those of a repository", "", "repo/refs/ repo/notes", KindNotAvailable, "holds notes"},
		{"a file", "", "repo", KindFailed, "not a directory"},
		{"a file in place of a directory above", "", "ostree", KindFailed, "not a directory"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			for name := range strings.FieldsSeq(test.there) {
				path := filepath.Join(dir, name)
				err := os.MkdirAll(filepath.Dir(path), 0o755)
				if err == nil && strings.HasSuffix(name, "/") {
					err = os.MkdirAll(path, 0o755)
				} else if err == nil {
					err = os.WriteFile(path, nil, 0o600)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			path := filepath.Join(dir, "repo")
			if test.there == "ostree" {
				path = filepath.Join(dir, "ostree/repo")
			}
			_, err := Init(t.Context(), path, InitRequest{Mode: test.mode})
			if KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says) || !strings.HasPrefix(err.Error(), "init: ") {
				t.Errorf("%s: %v, want %s that says %q", KindOf(err), err, test.kind, test.says)
			}
			if _, err := os.Stat(filepath.Join(path, "config")); err == nil {
				t.Error("there is a repository now")
			}
		})
	}
	t.Run("another mode", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "repo")
		if _, err := Init(t.Context(), path, InitRequest{Mode: "archive"}); err != nil {
			t.Fatal(err)
		}
		_, err := Init(t.Context(), path, InitRequest{Mode: "bare"})
		if KindOf(err) != KindInvalidOption || !strings.Contains(err.Error(), "has the mode archive, not bare") {
			t.Errorf("%v", err)
		}
	})
}
