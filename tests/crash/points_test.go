//go:build crash

package crash

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// points lists each place of package crashpoint with the operation that passes it.
var points = map[string]string{
	"tempdir made":         "pull",
	"tempdir locked":       "pull",
	"tempdir emptied":      "pull",
	"tempdir unlocked":     "pull",
	"staging made":         "pull",
	"land begun":           "pull",
	"land done":            "pull",
	"prepare loaded":       "prepare",
	"prepare planned":      "prepare",
	"prepare note written": "prepare",
	"prepare noted":        "prepare",
	"fetch opened":         "pull",
	"fetch read":           "pull",
	"fetch landed":         "pull",
	"base chunks":          "pull base",
	"base chunks landed":   "pull base",
	"base complete":        "pull base",
	"base carried":         "complete base",
	"merge begun":          "pull",
	"merge written":        "update",
	"merge landed":         "update",
	"collect decided":      "gc",
	"collect refs dropped": "gc",
	"prune marked":         "gc",
	"collect pruned":       "gc",
	"remove decided":       "remove",
	"remove done":          "remove",
	"copy begun":           "copy",
	"copy pulled":          "copy",
	"copy named":           "copy",
	"repair opened":        "repair",
	"repair dropped refs":  "repair",
	"repair marked":        "repair",
	"repair discarded":     "repair",
	"repair made room":     "repair",
	"repair read":          "repair",
	"export written":       "export",
	"export configured":    "export",
	"export named":         "export",
	"layout written":       "export image",
	"layout filled":        "encapsulate",
	"record written":       "pull",
}

// daemonOnly are the places that only the daemon passes.
var daemonOnly = map[string]bool{"record written": true}

// TestPointsAreThoseOfTheCode ties the list to the code.
func TestPointsAreThoseOfTheCode(t *testing.T) {
	root := filepath.Join("..", "..")
	found := map[string]int{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if name, ok := passed(n); ok {
				found[name]++
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	code, list := slices.Sorted(maps.Keys(found)), slices.Sorted(maps.Keys(points))
	if !slices.Equal(code, list) {
		t.Errorf("the code has the places\n%q\nand the list has\n%q", code, list)
	}
	for name, n := range found {
		if n > 1 {
			t.Errorf("%d places are called %q", n, name)
		}
	}
}

// passed gives the place that a call of crashpoint.Pass names.
func passed(n ast.Node) (name string, ok bool) {
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) != 1 {
		return "", false
	}
	function, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || function.Sel.Name != "Pass" {
		return "", false
	}
	if pkg, ok := function.X.(*ast.Ident); !ok || pkg.Name != "crashpoint" {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok {
		return "not a literal", true
	}
	name, err := strconv.Unquote(literal.Value)
	return name, err == nil
}
