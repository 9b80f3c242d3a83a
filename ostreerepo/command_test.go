package ostreerepo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// fakeOstree writes a shell script that stands in for the command: it knows --version, and body is
// the rest.
func fakeOstree(t *testing.T, body string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ostree")
	script := "#!/bin/sh\n[ \"$1\" = --version ] && echo \"libostree:\n Version: '2024.3'\" && exit\n" + body + "\n"
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// openFake opens a real repository with a fake command.
func openFake(t *testing.T, body string) *ostreerepo.Repo {
	t.Helper()
	repo, err := ostreerepo.Open(t.Context(), newRepo(t, ostreerepo.ModeBareUser).Path(), ostreerepo.Options{Command: fakeOstree(t, body)})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

func TestOpen(t *testing.T) {
	for _, mode := range modes {
		path := newRepo(t, mode).Path()
		t.Chdir(filepath.Dir(path))
		repo, err := ostreerepo.Open(t.Context(), filepath.Base(path), ostreerepo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if repo.Mode() != mode || repo.Path() != path || !strings.Contains(runTool(t, "ostree", "--version"), repo.Version().String()) {
			t.Errorf("%s: %s, %s, %s", path, repo.Mode(), repo.Path(), repo.Version())
		}
	}
}

func TestCreateAgain(t *testing.T) {
	path := newRepo(t, ostreerepo.ModeArchive).Path()
	if _, err := ostreerepo.Create(t.Context(), path, ostreerepo.ModeArchive, ostreerepo.Options{}); err != nil {
		t.Error(err)
	}
	if _, err := ostreerepo.Create(t.Context(), path, ostreerepo.ModeBare, ostreerepo.Options{}); err == nil {
		t.Error("it is opened although its mode is another")
	}
}

func TestNotRepository(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"empty directory":    {},
		"without objects":    {"config": "[core]\nrepo_version=1\nmode=bare\n", "refs/x": ""},
		"without refs":       {"config": "[core]\nrepo_version=1\nmode=bare\n", "objects/x": ""},
		"another version":    {"config": "[core]\nrepo_version=2\nmode=bare\n", "objects/x": "", "refs/x": ""},
		"not a key file":     {"config": "some text", "objects/x": "", "refs/x": ""},
		"objects is no dir":  {"config": "[core]\nrepo_version=1\n", "objects": "", "refs/x": ""},
		"version elsewhere":  {"config": "[other]\nrepo_version=1\n", "objects/x": "", "refs/x": ""},
		"version in comment": {"config": "[core]\n#repo_version=1\n", "objects/x": "", "refs/x": ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range files {
				path := filepath.Join(dir, file)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			_, err := ostreerepo.Open(t.Context(), dir, ostreerepo.Options{})
			if !errors.Is(err, ostreerepo.ErrNotRepository) || !strings.Contains(err.Error(), dir) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestToolMissing(t *testing.T) {
	path := newRepo(t, ostreerepo.ModeBareUser).Path()
	check := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, ostreerepo.ErrToolMissing) || !strings.Contains(err.Error(), "apt install ostree") {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err := ostreerepo.Open(t.Context(), path, ostreerepo.Options{Command: "/nonexistent/ostree"})
	check("a path", err)
	_, err = ostreerepo.Create(t.Context(), path, ostreerepo.ModeBare, ostreerepo.Options{Command: "no-such-ostree"})
	check("a name", err)

	fake := fakeOstree(t, "")
	repo, err := ostreerepo.Open(t.Context(), path, ostreerepo.Options{Command: fake})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(fake); err != nil {
		t.Fatal(err)
	}
	check("deleted since", repo.Fsck(t.Context()))

	t.Setenv("PATH", t.TempDir())
	_, err = ostreerepo.Open(t.Context(), path, ostreerepo.Options{})
	check("not in PATH", err)
}

func TestVersion(t *testing.T) {
	repo := openFake(t, "")
	v := repo.Version()
	if v.String() != "2024.3" {
		t.Errorf("got %s", v)
	}
	for at, want := range map[ostreerepo.Version]bool{
		{Year: 2024, Release: 3}: true, {Year: 2024, Release: 2}: true, {Year: 2023, Release: 9}: true,
		{Year: 2024, Release: 4}: false, {Year: 2025, Release: 1}: false, {Year: 2024, Release: 10}: false,
	} {
		if v.AtLeast(at.Year, at.Release) != want {
			t.Errorf("AtLeast %s is %v", at, !want)
		}
	}
}

// TestCommandErrors is about causes that libostree only words. The words are its own and those of
// strerror.
func TestCommandErrors(t *testing.T) {
	for words, want := range map[string]error{
		"error: Writing content object: fallocate: No space left on device":               ostreerepo.ErrNoSpace,
		"error: Disk quota exceeded":                                                      ostreerepo.ErrNoSpace,
		"error: min-free-space-percent '3%' would be exceeded, at least 1.0 kB requested": ostreerepo.ErrNoSpace,
		"error: min-free-space-size 900GB would be exceeded, at least 12 bytes requested": ostreerepo.ErrNoSpace,
		"error: opening lock file: Read-only file system":                                 ostreerepo.ErrReadOnly,
		"error: Importing 00.file: linkat: No such file or directory":                     nil,
	} {
		err := openFake(t, fmt.Sprintf("echo %q >&2; exit 1", words)).Fsck(t.Context())
		var failed *command.Error
		if !errors.As(err, &failed) || failed.ExitCode != 1 || failed.Stderr != words || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: got %v", words, err)
		}
		for _, sentinel := range []error{ostreerepo.ErrNoSpace, ostreerepo.ErrReadOnly} {
			if errors.Is(err, sentinel) != (sentinel == want) {
				t.Errorf("%s: is %v: %v", words, sentinel, errors.Is(err, sentinel))
			}
		}
	}
}

func TestCommandSaysMuchOrNothing(t *testing.T) {
	var failed *command.Error
	err := openFake(t, "i=0; while [ $i -lt 3000 ]; do echo line $i >&2; i=$((i+1)); done; echo the cause >&2; exit 7").Fsck(t.Context())
	if !errors.As(err, &failed) || failed.ExitCode != 7 || len(failed.Stderr) > 8<<10 || !strings.HasSuffix(failed.Stderr, "the cause") {
		t.Errorf("got %v", err)
	}
	err = openFake(t, "exit 3").Fsck(t.Context())
	if !errors.As(err, &failed) || err.Error() != "ostree fsck: exit status 3" {
		t.Errorf("got %v", err)
	}
}

func TestCommandEnvironment(t *testing.T) {
	for name, value := range map[string]string{
		"LC_ALL": "de_DE.UTF-8", "G_MESSAGES_DEBUG": "all", "NOTIFY_SOCKET": "/x", "OSTREE_REPO": "/x", "GIO_EXTRA_MODULES": "/x",
	} {
		t.Setenv(name, value)
	}
	err := openFake(t, `echo "$LC_ALL,$G_MESSAGES_DEBUG,$NOTIFY_SOCKET,$OSTREE_REPO,$GIO_EXTRA_MODULES" >&2; exit 1`).Fsck(t.Context())
	if want := "ostree fsck: C.UTF-8,,,,"; err == nil || err.Error() != want {
		t.Errorf("got %v instead of %s", err, want)
	}
}

// TestCommandIsStopped cancels a command that has started a process of its own: both must get
// SIGTERM, and the error is that of the context. A command that does not end then would be killed
// after ten seconds.
func TestCommandIsStopped(t *testing.T) {
	started := filepath.Join(t.TempDir(), "started")
	if err := unix.Mkfifo(started, 0o600); err != nil {
		t.Fatal(err)
	}
	repo := openFake(t, fmt.Sprintf("trap 'wait; exit 1' TERM; sh -c 'echo > %s; exec sleep 1000' & wait", started))
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("the caller's reason")
	go func() {
		_, err := os.ReadFile(started) // until the script has written
		cancel(errors.Join(cause, err))
	}()
	start := time.Now()
	if err := repo.Fsck(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("it took %v: a process did not get the signal", took)
	}
}
