package selinux

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/ostree-importd/ostree-importd/importer/selinux/pcre/pcretest"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestExpressions has libselinux match the same expressions.
func TestExpressions(t *testing.T) {
	var specs strings.Builder
	specs.WriteString("/.* no\n")
	names := paths{}
	kept := []pcretest.Expression{}
	for _, e := range pcretest.Expressions {
		// The policy's files are ASCII without white space: some rows are for TestTranslate alone.
		if strings.ContainsFunc(e.Pattern, func(r rune) bool { return r <= ' ' || r >= utf8.RuneSelf }) {
			continue
		}
		fmt.Fprintf(&specs, "/%d-%s yes\n", len(kept), e.Pattern)
		for _, name := range append(e.Yes, e.No...) {
			names.add(file, fmt.Sprintf("/%d-%s", len(kept), name))
		}
		kept = append(kept, e)
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	root := policyDir(t, map[string]string{"file_contexts": specs.String()})
	p := load(t, repo, root)
	landTree(t, repo, names)
	all := labels(t, repo, oracle(t, repo, root, "tree"))
	compare(t, p, all)
	for i, e := range kept {
		for want, list := range map[string][]string{"yes\x00": e.Yes, "no\x00": e.No} {
			for _, name := range list {
				if got := all[fmt.Sprintf("/%d-%s", i, name)].label; got != want {
					t.Errorf("%s on %q: ostree says %q, the test %q", e.Pattern, name, got, want)
				}
			}
		}
	}
}

// TestEndlessMatch has an expression that backtracks for ages.
func TestEndlessMatch(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	p := load(t, repo, policyDir(t, base(`/a/(?!x)((b+)+)+c one`)))
	if got, ok := p.Label("/a/bbc", file); got != "one" || !ok || p.Err() != nil {
		t.Errorf("label %q (%t), %v", got, ok, p.Err())
	}
	tree := landTree(t, repo, paths{}.add(file, "/a/"+strings.Repeat("b", 200)))
	st := staging(t, repo)
	_, _, err := Relabel(t.Context(), st, tree, p, "/")
	if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "file_contexts, line 3") || !strings.Contains(err.Error(), `"/a/bbb`) || p.Err() == nil {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/.* a\n/b -d c\n/(c d\n", "/a /b\n/c /\n", "/a/x")
	f.Add("\t#\n/a+ -- b\x00\n/c(/.*)? <<none>>", "/x", "/")
	f.Fuzz(func(t *testing.T, specs, subs, path string) {
		src := &sources{files: map[string]string{mainFile: specs, subsFile: subs}}
		p, err := src.compile(t.Context())
		if err != nil || len(path) > 100 {
			return
		}
		for _, mode := range []uint32{0, dir, file, symlink} {
			text, ok := p.Label("/"+path, mode)
			x, okX := p.Xattr("/"+path, mode)
			if ok != okX || ok && string(x.Value) != text+"\x00" {
				t.Errorf("%q (%t), %q (%t)", text, ok, x.Value, okX)
			}
		}
	})
}
