package treediff_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/treediff"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// commit makes a commit of what a shell script makes in an empty directory.
func commit(t *testing.T, repo *ostreerepo.Repo, script string) treediff.Root {
	t.Helper()
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.Command(needs.Tool(t, name), args...)
		cmd.Dir = dir
		out, err := cmd.Output()
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%s: %v: %s", name, err, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	run("sh", "-euc", script)
	c, err := objects.ParseChecksum(run("ostree", "--repo="+repo.Path(), "commit", "--orphan", "--tree=dir="+dir))
	if err != nil {
		t.Fatal(err)
	}
	object, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	return treediff.Root{Tree: object.Tree, Meta: object.Meta}
}

const tree = `
	mkdir -p same/deep gone/deep grown typed mode
	echo 1 >same/deep/file; echo 1 >gone/file; echo 1 >gone/deep/file
	echo 1 >content; echo 1 >chmod; echo 1 >chown; echo 1 >attr; echo 1 >both; echo 1 >dir-now; echo 1 >typed/file; echo 1 >link-now
	ln -s a target
`

const changed = tree + `
	rm -r gone; mkdir -p grown/new; echo 1 >grown/new/file
	echo 2 >content; chmod 600 chmod; chown 1:2 chown; setfattr -n user.x -v y attr
	echo 2 >both; chmod 600 both; chown 3 both
	rm dir-now; mkdir dir-now; echo 1 >dir-now/file
	rm -r typed; echo 1 >typed
	rm link-now; ln -s a link-now
	ln -sfn b target; chmod 700 mode
`

func TestDiff(t *testing.T) {
	for _, mode := range []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeArchive} {
		t.Run(string(mode), func(t *testing.T) {
			needs.Tool(t, "ostree")
			repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
			if err != nil {
				t.Fatal(err)
			}
			from, to := commit(t, repo, tree), commit(t, repo, changed)
			changes, err := treediff.Diff(t.Context(), repo, from, to)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, c := range changes {
				fmt.Fprintln(&got, strings.TrimSpace(fmt.Sprint(c.Kind, " ", c.Path, " ", c.What)))
			}
			const want = `changed /attr xattrs
changed /both content, mode, owner
changed /chmod mode
changed /chown owner
changed /content content
changed /dir-now type
added /dir-now/file
removed /gone
removed /gone/deep
removed /gone/deep/file
removed /gone/file
added /grown/new
added /grown/new/file
changed /link-now type
changed /mode mode
changed /target target
changed /typed type
removed /typed/file
`
			if got.String() != want {
				t.Errorf("got\n%s\nwant\n%s", &got, want)
			}
			back, err := treediff.Diff(t.Context(), repo, to, from)
			if err != nil || len(back) != len(changes) {
				t.Errorf("%d changes one way, %d the other (%v)", len(changes), len(back), err)
			}
			if none, err := treediff.Diff(t.Context(), repo, to, to); err != nil || len(none) != 0 {
				t.Errorf("a tree differs from itself: %v (%v)", none, err)
			}
			ended, cancel := context.WithCancelCause(t.Context())
			cancel(io.ErrClosedPipe)
			if _, err := treediff.Diff(ended, repo, from, to); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("canceled: %v", err)
			}
		})
	}
}
