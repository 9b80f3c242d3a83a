package selinux

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// compiled makes a policy of specifications.
func compiled(t *testing.T, specs []string) *Policy {
	t.Helper()
	src := &sources{files: map[string]string{mainFile: "/ root\n" + strings.Join(specs, "\n")}}
	p, err := src.compile(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// repeated gives n specifications.
func repeated(n int, format string) []string {
	specs := make([]string, n)
	for i := range specs {
		specs[i] = fmt.Sprintf(format, i)
	}
	return specs
}

// TestEffort has policies whose labels for many files take hours, each match by itself being short.
func TestEffort(t *testing.T) {
	long := strings.Repeat("/bbbbbbbbb", 400)
	for _, test := range []struct {
		name  string
		specs []string
		path  string // each has a number behind it
	}{
		{"endless matches", repeated(1000, `/a/(?!x%d)((b+)+)+c one`), "/a/" + strings.Repeat("b", 60)},
		{"long matches", repeated(1000, `/a/(?!x%d)((b+)+)+c one`), "/a/" + strings.Repeat("b", 9)},
		{"many expressions", repeated(50_000, `.*[0-9]x%d one`), "/a"},
		{"fixed texts", repeated(50_000, `.*/needle%d one`), long},
		{"specifications for another type", repeated(50_000, `/.*x%d -d one`), "/a"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := compiled(t, test.specs)
			start := time.Now()
			paths := 0
			for ; paths < 50_000 && p.Err() == nil; paths++ {
				p.Label(fmt.Sprint(test.path, paths), file)
			}
			took := time.Since(start)
			t.Logf("%d paths in %v", paths, took)
			if !errors.Is(p.Err(), ErrUnusable) || took > 60*time.Second {
				t.Errorf("%d paths in %v, error %v", paths, took, p.Err())
			}
			if label, ok := p.Label("/", dir); ok {
				t.Errorf("after the error there is a label, %s", label)
			}
		})
	}
}

// TestEffortOfManyPaths wants the bound to grow with the paths.
func TestEffortOfManyPaths(t *testing.T) {
	p := compiled(t, repeated(20, `/[a-z/]*[0-9]{1,3%d}[A-Z] one`)[:10])
	for i := range 20_000 {
		p.Label(fmt.Sprintf("/usr/share/doc/package/%d", i), file)
	}
	if p.Err() != nil || p.effort.steps.Load() < maxSteps {
		t.Errorf("%d steps: %v", p.effort.steps.Load(), p.Err())
	}
}

func TestLoadCanceledInTheMidst(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	tree := commitDir(t, repo, policyDir(t, base(repeated(150_000, `/(?!x%d)[a-z]++ one`)...)))
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := Load(ctx, repo, tree.Tree)
	if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 10*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}
