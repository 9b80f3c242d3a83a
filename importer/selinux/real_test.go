package selinux

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp/syntax"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/selinux/pcre"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// installed is Debian's policy. It need not be switched on.
const installed = "/etc/selinux/default"

// realPolicy copies the installed policy to where a commit has it, and switches it on. rewrite
// changes its text files.
func realPolicy(t testing.TB, rewrite func(name, text string) string) string {
	t.Helper()
	needs.File(t, installed+"/contexts/files/file_contexts", "selinux-policy-default")
	files := map[string]string{"config": "SELINUX=permissive\nSELINUXTYPE=default\n"}
	err := filepath.WalkDir(installed, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || strings.HasSuffix(path, ".bin") {
			return err
		}
		text, err := os.ReadFile(path)
		files["default"+strings.TrimPrefix(path, installed)] = rewrite(entry.Name(), string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return writeFiles(t, "usr/etc/selinux", files)
}

func unchanged(_, text string) string { return text }

// numbered gives each specification a label of its own, so that a test sees which one was taken.
func numbered(name, text string) string {
	if !strings.HasPrefix(name, "file_contexts") || strings.Contains(name, ".subs") {
		return text
	}
	var b strings.Builder
	n := 0
	for line := range strings.Lines(text) {
		n++
		fields := fieldsOf(line)
		if len(fields) > 1 && fields[len(fields)-1] != none {
			fields[len(fields)-1] = fmt.Sprintf("%s:%d", name, n)
		}
		fmt.Fprintln(&b, strings.Join(fields, " "))
	}
	return b.String()
}

// hostPaths gives paths of this machine, about as many as wanted, spread over all that its packages
// hold.
func hostPaths(t testing.TB, wanted int) paths {
	t.Helper()
	lists, err := filepath.Glob("/var/lib/dpkg/info/*.list")
	if err != nil || len(lists) == 0 {
		t.Fatalf("no packages are installed: %v", err)
	}
	var names []string
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.Fields(string(text))...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	all := paths{}
	for i := 0; i < len(names); i += max(1, len(names)/wanted) {
		info, err := os.Lstat(names[i])
		switch {
		case err != nil: // a name with a space in it, or something that was removed
		case info.IsDir():
			all.addValid(dir, names[i])
		case info.Mode().Type() == fs.ModeSymlink:
			all.addValid(symlink, names[i])
		default:
			all.addValid(file, names[i])
		}
	}
	return all
}

// matchingPaths gives, for each expression of a policy, paths that it matches, and paths that are
// nearly such.
func matchingPaths(t testing.TB, p *Policy) paths {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	all := paths{}
	for i, s := range p.index.specs {
		mode := s.kind
		if mode == 0 {
			mode = []uint32{dir, file, symlink}[i%3]
		}
		if s.pattern == "" {
			if len(p.index.exact[s.path]) > 1 {
				continue // libselinux 3.8 does not take the last
			}
			all.addValid(mode, s.path)
			continue
		}
		translated, err := pcre.Translate(s.pattern, false)
		if err != nil {
			t.Fatal(err)
		}
		re, err := syntax.Parse(translated.Text, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		path := example(random, re)
		if path == "" {
			continue
		}
		all.addValid(mode, path)
		if at := random.IntN(len(path)); i%2 == 0 {
			all.addValid(mode, path[:at]+path[at+1:])
		} else {
			all.addValid(mode, path[:at]+"-"+path[at:])
		}
	}
	return all
}

// addValid adds a path that a commit can have.
func (p paths) addValid(mode uint32, path string) {
	if mode != dir && mode != symlink {
		mode = file
	}
	path = filepath.Clean("/" + path)
	if path == "/" {
		return
	}
	for part := range strings.SplitSeq(path[1:], "/") {
		if objects.ValidName(part) != nil {
			return
		}
	}
	p[path] = mode
}

// example gives a text that an expression matches.
func example(random *rand.Rand, re *syntax.Regexp) string {
	repeat := func(least, most int) string {
		var b strings.Builder
		for range least + random.IntN(most-least+1) {
			b.WriteString(example(random, re.Sub[0]))
		}
		return b.String()
	}
	switch re.Op {
	case syntax.OpLiteral:
		return string(re.Rune)
	case syntax.OpCharClass:
		for range 100 {
			i := 2 * random.IntN(len(re.Rune)/2)
			first, last := re.Rune[i], min(re.Rune[i+1], 0x7e)
			if first > 0x20 && first <= last {
				return string(first + rune(random.IntN(int(last-first)+1)))
			}
		}
		return "x"
	case syntax.OpAnyChar:
		return string("abcxyz019/.-"[random.IntN(12)])
	case syntax.OpCapture:
		return example(random, re.Sub[0])
	case syntax.OpStar:
		return repeat(0, 3)
	case syntax.OpPlus:
		return repeat(1, 3)
	case syntax.OpQuest:
		return repeat(0, 1)
	case syntax.OpRepeat:
		return repeat(re.Min, max(re.Min, re.Max))
	case syntax.OpConcat:
		var b strings.Builder
		for _, sub := range re.Sub {
			b.WriteString(example(random, sub))
		}
		return b.String()
	case syntax.OpAlternate:
		return example(random, re.Sub[random.IntN(len(re.Sub))])
	}
	return "" // assertions
}

// TestRealPolicy labels what this machine has, and paths made for every single specification, by
// Debian's policy.
func TestRealPolicy(t *testing.T) {
	const wanted = 3000
	for _, test := range []struct {
		name    string
		rewrite func(name, text string) string
		paths   func(t testing.TB, p *Policy) paths
	}{
		{"paths of this machine", unchanged, func(t testing.TB, _ *Policy) paths { return hostPaths(t, wanted) }},
		{"a path for each specification", numbered, matchingPaths},
	} {
		t.Run(test.name, func(t *testing.T) {
			repo := newRepo(t, ostreerepo.ModeBareUser)
			root := realPolicy(t, test.rewrite)
			p := load(t, repo, root)
			tree := landTree(t, repo, test.paths(t, p))
			want := oracle(t, repo, root, "tree")
			all := labels(t, repo, want)
			t.Logf("%d paths, %d specifications", len(all), len(p.index.specs))
			compare(t, p, all)

			st := staging(t, repo)
			got, stats, err := Relabel(t.Context(), st, tree, p, "/")
			if err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("relabelled tree %v, ostree gives %v", got, want)
			}
			if stats.Entries != int64(len(all)) || stats.Relabelled < stats.Entries/2 {
				t.Errorf("%+v for %d paths", stats, len(all))
			}
		})
	}
}
