// Package rules holds the project's rules against the code: which package may
// import which, how tests say what they need, and which values the documented
// limits have.
package rules

import (
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ostree-importd/ostree-importd/"

// root is the module's folder, from this one.
var root = filepath.Join("..", "..")

// allowed lists, for each top-level folder, the folders from which its code
// (tests apart) may import: the table of docs/architecture.md.
var allowed = map[string][]string{
	"cmd":         {"cmd", "dbus", "daemon", "importer", "ostreerepo", "proxyclient", "systemd"},
	"dbus":        {"dbus", "daemon", "importer"},
	"daemon":      {"daemon", "importer", "ostreerepo/crashpoint"},
	"importer":    {"importer", "ostreerepo"},
	"ostreerepo":  {"ostreerepo"},
	"proxyclient": {"ostreerepo/command", "ostreerepo/tempdir", "proxyclient"},
	"systemd":     {"systemd"},
}

func TestImportsPointDown(t *testing.T) {
	checked := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		folder, _, _ := strings.Cut(filepath.ToSlash(relative), "/")
		permitted, known := allowed[folder]
		if entry.IsDir() || !known || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		checked++
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			inner, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			below := func(folder string) bool { return strings.HasPrefix(inner+"/", folder+"/") }
			if !slices.ContainsFunc(permitted, below) {
				t.Errorf("%s imports %s: %s may import %s only", relative, inner, folder, strings.Join(permitted, ", "))
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if checked == 0 {
		t.Fatal("found no code to check")
	}
}
