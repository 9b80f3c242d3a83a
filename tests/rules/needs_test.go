package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// ways lists the calls that tests leave to package needs: they would be a second way to ask for
// root or a program, or to pass without having run.
var ways = []string{"Geteuid", "Getuid", "LookPath", "Skip", "Skipf", "SkipNow"}

// everywhere lists the programs that a test runs without a word: a shell, and Go itself.
var everywhere = []string{"sh", "go"}

// inContainers lists the folders whose tests run only in a system that was made for them.
var inContainers = []string{"tests/system/", "tests/systemimage/"}

func TestNeedsAreSaidInOneWay(t *testing.T) {
	checked := 0
	eachFile(t, func(name string, files *token.FileSet, file *ast.File) {
		if !strings.HasSuffix(name, "_test.go") {
			return
		}
		checked++
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if _, function := called(call); slices.Contains(ways, function) {
				t.Errorf("%s: %s: use package tests/needs", files.Position(call.Pos()), function)
			}
			if program := started(call); program != "" && !inContainer(name) {
				t.Errorf("%s: %q is started by its name: use needs.Tool", files.Position(call.Pos()), program)
			}
			return true
		})
	})
	if checked == 0 {
		t.Fatal("found no tests to check")
	}
}

func inContainer(name string) bool {
	return slices.ContainsFunc(inContainers, func(folder string) bool { return strings.HasPrefix(name, folder) })
}

// called returns what stands before and after the point of a call such as os.Geteuid().
func called(call *ast.CallExpr) (receiver, function string) {
	selector, ok := call.Fun.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if x, ok := selector.X.(*ast.Ident); ok {
		receiver = x.Name
	}
	return receiver, selector.Sel.Name
}

// started returns the program that a call of exec.Command starts by its bare name, if any.
func started(call *ast.CallExpr) string {
	receiver, function := called(call)
	position := map[string]int{"Command": 0, "CommandContext": 1}
	at, ok := position[function]
	if receiver != "exec" || !ok || len(call.Args) <= at {
		return ""
	}
	literal, ok := call.Args[at].(*ast.BasicLit)
	if !ok {
		return ""
	}
	program, err := strconv.Unquote(literal.Value)
	if err != nil || strings.HasPrefix(program, "/") || slices.Contains(everywhere, program) {
		return ""
	}
	return program
}

// eachFile parses every Go file of the module and calls f with its path from the module's root.
func eachFile(t *testing.T, f func(name string, files *token.FileSet, file *ast.File)) {
	t.Helper()
	files := token.NewFileSet()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		f(filepath.ToSlash(name), files, file)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
