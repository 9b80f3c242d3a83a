package rules

import (
	"bufio"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/constant"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// limitsPage lists every limit: in each row the second cell is the value and the last one the
// constant, as `importer/blob.maxWindow`.
const limitsPage = "docs/limits.md"

// units are the words that may follow a number on the page. A word that is none of these is what
// is counted.
var units = map[string]int64{
	"byte": 1, "bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "KiB/s": 1 << 10, "MiB/s": 1 << 20,
	"ms": int64(time.Millisecond), "s": int64(time.Second), "seconds": int64(time.Second),
	"minute": int64(time.Minute), "minutes": int64(time.Minute), "hour": int64(time.Hour), "hours": int64(time.Hour),
}

// foreign lists the packages outside the module whose constants a limit may be made of.
var foreign = []string{"math", "time", "golang.org/x/sys/unix"}

// limit is a row of the page.
type limit struct {
	line          int
	value, source string
}

// TestLimitsAreAsDocumented compares the values of docs/limits.md with the constants it names.
func TestLimitsAreAsDocumented(t *testing.T) {
	limits := readLimits(t)
	if len(limits) == 0 {
		t.Fatal("found no limits to check")
	}
	code := constants{files: token.NewFileSet(), packages: map[string]*types.Package{}}
	code.rest = importer.ForCompiler(code.files, "source", nil)
	seen := map[string]bool{}
	for _, l := range limits {
		if seen[l.source] {
			t.Errorf("%s:%d: %s has a row already", limitsPage, l.line, l.source)
		}
		seen[l.source] = true
		want, err := parseLimit(l.value)
		if err != nil {
			t.Errorf("%s:%d: %v", limitsPage, l.line, err)
			continue
		}
		got, err := code.value(l.source)
		if err != nil {
			t.Errorf("%s:%d: %v", limitsPage, l.line, err)
		} else if got != want {
			t.Errorf("%s:%d: %s is %d, the page says %q (%d)", limitsPage, l.line, l.source, got, l.value, want)
		}
	}
}

// readLimits reads the rows of all tables of the page.
func readLimits(t *testing.T) []limit {
	t.Helper()
	f, err := os.Open(filepath.Join(root, limitsPage))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var limits []limit
	line := 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line++
		row, ok := strings.CutPrefix(lines.Text(), "| ")
		if !ok || strings.HasPrefix(row, "---") || strings.HasPrefix(row, "what |") {
			continue
		}
		cells := strings.Split(strings.TrimSuffix(row, " |"), " | ")
		if len(cells) != 4 {
			t.Errorf("%s:%d: %d cells, want what, at most, beyond it and constant", limitsPage, line, len(cells))
			continue
		}
		limits = append(limits, limit{line: line, value: cells[1], source: strings.Trim(cells[3], "`")})
	}
	return limits
}

// parseLimit reads a value of the page: a number, whose thousands are separated by commas, a unit
// where there is one, and any further words.
func parseLimit(text string) (int64, error) {
	fields := strings.Fields(text)
	if len(fields) == 0 {
		return 0, errors.New("the value is empty")
	}
	number := constant.MakeFromLiteral(strings.ReplaceAll(fields[0], ",", ""), token.INT, 0)
	value, exact := constant.Int64Val(number)
	if !exact {
		return 0, fmt.Errorf("%q does not begin with a whole number", text)
	}
	if len(fields) > 1 {
		if unit, ok := units[strings.TrimRight(fields[1], ",;")]; ok {
			value *= unit
		}
	}
	return value, nil
}

// constants evaluates constants of the module without building it: bodies of functions and errors
// elsewhere in a package do not matter.
type constants struct {
	files    *token.FileSet
	packages map[string]*types.Package // by import path
	rest     types.Importer            // for packages outside the module
}

// value returns a constant that is named as `importer/blob.maxWindow`; a duration is in
// nanoseconds.
func (c *constants) value(name string) (int64, error) {
	folder, identifier, ok := strings.Cut(name, ".")
	if !ok {
		return 0, fmt.Errorf("%q does not name a constant", name)
	}
	pkg, err := c.Import(module + folder)
	if err != nil {
		return 0, err
	}
	found, ok := pkg.Scope().Lookup(identifier).(*types.Const)
	if !ok {
		return 0, fmt.Errorf("%s has no constant %s", folder, identifier)
	}
	value, exact := constant.Int64Val(constant.ToInt(found.Val()))
	if !exact {
		return 0, fmt.Errorf("%s is not a whole number", name)
	}
	return value, nil
}

// Import implements types.Importer.
func (c *constants) Import(path string) (*types.Package, error) {
	folder, ours := strings.CutPrefix(path, module)
	if !ours {
		if !slices.Contains(foreign, path) {
			return nil, fmt.Errorf("%s has no constant that a limit uses", path)
		}
		return c.rest.Import(path)
	}
	if pkg := c.packages[path]; pkg != nil {
		return pkg, nil
	}
	folder = filepath.Join(root, folder)
	described, err := build.ImportDir(folder, 0)
	if err != nil {
		return nil, err
	}
	var parsed []*ast.File
	for _, name := range described.GoFiles {
		file, err := parser.ParseFile(c.files, filepath.Join(folder, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		parsed = append(parsed, file)
	}
	checker := types.Config{Importer: c, IgnoreFuncBodies: true, Error: func(error) {}}
	pkg, _ := checker.Check(path, c.files, parsed, nil) // packages that are left out are errors
	c.packages[path] = pkg
	return pkg, nil
}
