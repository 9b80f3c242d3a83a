package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// Programs that are missing, die or hang, and a repository that is none.
func TestTools(t *testing.T) {
	layout := t.TempDir()
	if err := build(t, ociimage.Spec{}, files("a")).WriteLayout(layout, "1"); err != nil {
		t.Fatal(err)
	}
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	for _, test := range []struct {
		name string
		path map[string]string // program → script, or "" for the real one
		repo string
		says []string
	}{
		{name: "no skopeo", path: map[string]string{"ostree": ""}, says: []string{"open", "skopeo"}},
		{name: "no ostree", path: map[string]string{"skopeo": ""}, says: []string{"ostree"}},
		{
			name: "skopeo dies at once", says: []string{"open", "no such luck"},
			path: map[string]string{"ostree": "", "skopeo": "#!/bin/sh\necho no such luck >&2\nexit 3\n"},
		},
		{
			name: "skopeo is killed", says: []string{"open"},
			path: map[string]string{"ostree": "", "skopeo": "#!/bin/sh\nkill -KILL $$\n"},
		},
		{
			name: "ostree fails when it changes something", says: []string{"land", "the disk is on fire"},
			path: map[string]string{
				"skopeo": "",
				"ostree": "#!/bin/sh\ncase \"$*\" in *--version*) exec " + fixture.Tool(t, "ostree") + " \"$@\";; esac\necho the disk is on fire >&2\nexit 1\n",
			},
		},
		{name: "no repository", path: map[string]string{"ostree": "", "skopeo": ""}, repo: t.TempDir(), says: []string{"repository"}},
		{name: "nothing at the repository's path", path: map[string]string{"ostree": "", "skopeo": ""}, repo: "/nonexistent/repo", says: []string{"/nonexistent/repo"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			at := repo.Path()
			if test.repo != "" {
				at = test.repo
			}
			before := fixture.Refs(t, repo)
			cmd := local(t, at, "pull", "oci:"+layout+":1")
			cmd.Env = append(os.Environ(), "PATH="+searchPath(t, test.path))
			out := fixture.Run(t, cmd)
			if out.Code != 1 {
				t.Errorf("exits %d, want 1", out.Code)
			}
			for _, part := range test.says {
				if !strings.Contains(out.Stderr, part) {
					t.Errorf("the message doesn't say %q: %s", part, out.Stderr)
				}
			}
			if after := fixture.Refs(t, repo); after != before {
				t.Errorf("the refs were\n%sand are\n%s", before, after)
			}
			if left := fixture.Leftovers(t, repo); len(left) > 0 {
				t.Errorf("the repository's tmp has %q", left)
			}
		})
	}
	result := pulled(t, fixture.Run(t, local(t, repo.Path(), "--json", "pull", "oci:"+layout+":1")))
	wantTree(t, repo, result.Commit, files("a"))
}

// A proxy that hangs can be stopped.
func TestHangingProxyIsInterrupted(t *testing.T) {
	repo := fixture.NewRepo(t, ostreerepo.ModeBareUser)
	// The script's user may be another one: the fifo is for all.
	started := filepath.Join(fixture.PublicDir(t), "started")
	fixture.MustRun(t, "mkfifo", "--mode=0666", started)
	script := "#!/bin/sh\necho >" + started + "\nexec tail -f /dev/null\n"
	cmd := local(t, repo.Path(), "pull", "oci:"+t.TempDir()+":1")
	cmd.Env = append(os.Environ(), "PATH="+searchPath(t, map[string]string{"ostree": "", "skopeo": script})+":/usr/bin:/bin")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	running := make(chan error, 1)
	go func() {
		_, err := os.ReadFile(started)
		running <- err
	}()
	if err := fixture.Await(t, running, "the proxy to start"); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	fixture.Await(t, done, "the end of the pull")
	if code := cmd.ProcessState.ExitCode(); code != 130 {
		t.Errorf("exits %d, want 130: %s", code, &stderr)
	}
}

// A daemon whose repository is missing says so to everybody who asks, and works once it is there.
func TestDaemonWithoutRepository(t *testing.T) {
	path := filepath.Join(t.TempDir(), "repo")
	bus := fixture.StartBus(t, fixture.DaemonOptions{Repo: path})
	layout := t.TempDir()
	if err := build(t, ociimage.Spec{}, files("a")).WriteLayout(layout, "1"); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"pull", "oci:" + layout + ":1"}, {"images"}} {
		if out := fixture.Run(t, bus.Ctl(t, args...)); out.Code != 1 || !strings.Contains(out.Stderr, path) {
			t.Errorf("%s exits %d: %s", args, out.Code, out.Stderr)
		}
	}
	fixture.MustRun(t, "ostree", "--repo="+path, "init", "--mode=bare-user")
	pulled(t, fixture.Run(t, bus.Ctl(t, "--json", "pull", "oci:"+layout+":1")))
}

// local makes an ostree-importctl command that does the work itself.
func local(t *testing.T, repo string, args ...string) *exec.Cmd {
	t.Helper()
	return exec.Command(fixture.Command(t, "ostree-importctl"), append([]string{"--local", "--repo=" + repo}, args...)...)
}

// searchPath makes a directory of programs: scripts, and links to the real ones.
func searchPath(t *testing.T, programs map[string]string) string {
	t.Helper()
	dir := fixture.PublicDir(t)
	for name, script := range programs {
		path := filepath.Join(dir, name)
		var err error
		if script == "" {
			err = os.Symlink(fixture.Tool(t, name), path)
		} else {
			err = os.WriteFile(path, []byte(script), 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
