package e2e

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

const (
	smallDisk  = 96 << 20
	largeLayer = 40 << 20
	// roomForOne is what is left free: enough for the large layer, not for what a killed import has
	// of it besides.
	roomForOne = 52 << 20
)

// fullDisk is a stage whose repository is on a small disk that has room for the image once.
type fullDisk struct {
	*stage
	reference string
	layers    []ocimodel.Layer
	large     *ociimage.Image
}

// After a kill in mid-pull, whatever comes next makes the room again that the killed one has taken.
func TestKilledOnANearlyFullDisk(t *testing.T) {
	s := newFullDisk(t)
	pull := func() *exec.Cmd {
		return local(t, s.repo.Path(), "--json", "pull", "--tls-verify=false", s.reference)
	}
	for _, verb := range [][]string{
		{"gc"}, {"gc", "--dry-run"}, {"verify"}, {"remove", "docker://example.com/none"},
		{"prepare", "--tls-verify=false", s.reference},
	} {
		t.Run(strings.Join(verb, " "), func(t *testing.T) {
			left := s.killed(t, pull())
			if out := fixture.Run(t, local(t, s.repo.Path(), verb...)); out.Code != 0 {
				t.Fatalf("exits %d: %s", out.Code, out.Stderr)
			}
			for _, path := range append(left, fixture.Leftovers(t, s.repo)...) {
				if _, err := os.Lstat(path); err == nil {
					t.Errorf("%s stays", path)
				}
			}
		})
	}
	t.Run("daemon start", func(t *testing.T) {
		left := s.killed(t, pull())
		if out := fixture.Run(t, s.bus.Ctl(t, "jobs")); out.Code != 0 {
			t.Fatalf("exits %d: %s", out.Code, out.Stderr)
		}
		await(t, "the daemon to remove what was left", func() bool {
			for _, path := range append(left, fixture.Leftovers(t, s.repo)...) {
				if _, err := os.Lstat(path); err == nil {
					return false
				}
			}
			return true
		})
	})
	t.Run("pull", func(t *testing.T) {
		s.killed(t, pull())
		s.gateway.Spoil(s.large.Layers[1].Digest, nil)
		result := pulled(t, fixture.Run(t, pull()))
		wantTree(t, s.repo, result.Commit, s.layers...)
		if left := fixture.Leftovers(t, s.repo); len(left) > 0 {
			t.Errorf("left are %q", left)
		}
		fixture.Fsck(t, s.repo)
	})
}

func newFullDisk(t *testing.T) *fullDisk {
	t.Helper()
	disk := fixture.MountExt4(t, smallDisk)
	repo := createIn(t, disk)
	registry := fixture.StartRegistry(t)
	s := &fullDisk{stage: &stage{
		registry: registry, repo: repo, gateway: fixture.StartGateway(t, registry),
	}}
	s.bus = fixture.StartBus(t, fixture.DaemonOptions{Repo: repo.Path()})
	content := make([]byte, largeLayer/8)
	rand.NewChaCha8([32]byte{}).Read(content)
	large := ocimodel.Layer{Entries: []ocimodel.Entry{{Path: "usr", Type: ocimodel.Dir, Mode: 0o755}}}
	for i := range 8 {
		content[0] = byte(i)
		large.Entries = append(large.Entries, ocimodel.Entry{
			Path: fmt.Sprintf("usr/large%d", i), Type: ocimodel.File, Mode: 0o644,
			Content: bytes.Clone(content),
		})
	}
	s.layers = []ocimodel.Layer{files("small"), large}
	s.large, s.reference = s.push(t, "large", s.layers...)
	free, _, err := repo.Space()
	if err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	if err := unix.Fallocate(int(filler.Fd()), 0, 0, int64(free-roomForOne)); err != nil {
		t.Fatal(err)
	}
	return s
}

// createIn makes a repository in a directory.
func createIn(t *testing.T, dir string) *ostreerepo.Repo {
	t.Helper()
	path := filepath.Join(dir, "repo")
	repo, err := ostreerepo.Create(t.Context(), path, ostreerepo.ModeBareUser, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// killed kills a pull when most of the large layer is on the disk, and gives the temporary
// directory of its proxy.
func (s *fullDisk) killed(t *testing.T, pull *exec.Cmd) (left []string) {
	t.Helper()
	stop := make(chan struct{})
	hold := func(w http.ResponseWriter, r *http.Request, blob []byte) {
		w.Header().Set("Content-Length", fmt.Sprint(len(blob)))
		w.Write(blob[:len(blob)-1])
		http.NewResponseController(w).Flush()
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}
	s.gateway.Spoil(s.large.Layers[1].Digest, hold)
	if err := pull.Start(); err != nil {
		t.Fatal(err)
	}
	await(t, "most of the layer to be on the disk", func() bool {
		free, _, err := s.repo.Space()
		return err == nil && free < roomForOne-largeLayer*3/4
	})
	left = locked(t, pull.Process.Pid)
	if err := pull.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	pull.Wait()
	close(stop)
	s.gateway.Spoil(s.large.Layers[1].Digest, nil)
	if len(left) < 2 || len(fixture.Leftovers(t, s.repo)) == 0 {
		t.Fatalf("the killed pull held %q and has left %q", left, fixture.Leftovers(t, s.repo))
	}
	return left
}

// locked gives the directories whose lock a process has open.
func locked(t *testing.T, pid int) []string {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, fd := range fds {
		if path, err := os.Readlink(fd); err == nil && filepath.Base(path) == "lock" {
			dirs = append(dirs, filepath.Dir(path))
		}
	}
	return dirs
}

// await waits until something is so that nobody tells.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(fixture.Timeout); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
