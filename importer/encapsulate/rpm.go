package encapsulate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	// rpmTimeout is how long a query of a database may take. One of 500 packages takes a second.
	rpmTimeout = 5 * time.Minute
	// stopDelay is how long the command may go on after SIGTERM before it is killed.
	stopDelay = 10 * time.Second
	// maxStderr is how many of the last bytes that it says are shown.
	maxStderr = 1 << 10
	// maxChangelog bounds how many changes of a package are looked at.
	maxChangelog = 1000

	year = 365 * 24 * 60 * 60 // seconds

	// rpmFormat has a line for each package, file and change, with a letter that tells which.
	rpmFormat = `P%{NAME}\nB%{BUILDTIME}\n[F%{FILENAMES}\n][C%{CHANGELOGTIME}\n]`
)

// rpmDirs are the places where a commit keeps the RPM database.
var rpmDirs = []string{"usr/share/rpm", "usr/lib/sysimage/rpm", "var/lib/rpm"}

// rpmFiles are the main files of the formats that the database has had.
var rpmFiles = []string{"rpmdb.sqlite", "Packages.db", "Packages"}

// readRPM reads which files belong to the packages of the commit's RPM database, and how often these changed, with the rpm command.
func readRPM(ctx context.Context, t *tree, opts Options) (p *packages, err error) {
	database, found := rpmDatabase(t)
	if !found {
		return nil, errNoDatabase
	}
	command := opts.RPM
	if command == "" {
		command = "rpm"
	}
	command, err = exec.LookPath(command)
	if err != nil {
		return nil, fmt.Errorf("%w: install it with `apt install rpm` or `dnf install rpm`", err)
	}
	dir, err := os.MkdirTemp("", "ostree-importd-rpm-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := t.copyFiles(ctx, database, dir); err != nil {
		return nil, err
	}
	return queryRPM(ctx, t, command, dir)
}

// rpmDatabase finds the directory of the database.
func rpmDatabase(t *tree) (dir string, found bool) {
	for _, dir := range rpmDirs {
		for _, name := range rpmFiles {
			if _, found := t.files[path.Join(dir, name)]; found {
				return dir, true
			}
		}
	}
	return "", false
}

// copyFiles writes the regular files of a directory of the commit to another.
func (t *tree) copyFiles(ctx context.Context, from, to string) error {
	for file, c := range t.files {
		if path.Dir(file) != from {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := copyFile(t.repo, c, filepath.Join(to, path.Base(file))); err != nil {
			return fmt.Errorf("/%s: %w", file, err)
		}
	}
	return nil
}

func copyFile(repo *ostreerepo.Repo, c objects.Checksum, to string) error {
	h, r, err := repo.OpenFile(c)
	if err != nil || h.IsSymlink() {
		return errors.Join(err, closeIf(r))
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return errors.Join(err, r.Close())
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close(), r.Close())
}

func closeIf(r io.Closer) error {
	if r == nil {
		return nil
	}
	return r.Close()
}

// queryRPM asks the rpm command for what is in the database in dir, which it may write to.
func queryRPM(ctx context.Context, t *tree, command, dir string) (*packages, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, rpmTimeout, fmt.Errorf("rpm was still running after %s", rpmTimeout))
	defer cancel()
	cmd := exec.CommandContext(ctx, command, "--dbpath", dir, "--nosignature", "--query", "--all", "--queryformat", rpmFormat)
	// Without the caller's macros, so that every host gives the same answer.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = stopDelay
	var stderr tail
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	answer := rpmAnswer{packages: newPackages(t)}
	readErr := eachLine(ctx, stdout, answer.line)
	if readErr != nil {
		cancel() // it would wait for somebody to read the rest
	}
	err = cmd.Wait()
	switch {
	case readErr != nil:
		return nil, fmt.Errorf("rpm --query: %w", readErr)
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, fmt.Errorf("rpm --query: %w: %s", err, stderr)
	}
	return answer.finish(), nil
}

// tail is a writer that keeps the last maxStderr bytes.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - maxStderr; extra > 0 {
		*t = (*t)[:copy(*t, (*t)[extra:])]
	}
	return len(p), nil
}

func (t tail) String() string { return strings.ToValidUTF8(strings.TrimSpace(string(t)), "?") }

// rpmAnswer takes the lines that rpmFormat makes.
type rpmAnswer struct {
	packages *packages
	name     string             // of the package that the lines are about
	newest   int64              // time at which the last package was built, in seconds
	changes  map[string][]int64 // times, in seconds
}

func (a *rpmAnswer) line(line string) {
	if line == "" {
		return
	}
	switch value := line[1:]; line[0] {
	case 'P':
		a.name = value
	case 'F':
		a.packages.claim(a.name, value)
	case 'B':
		if built, err := strconv.ParseInt(value, 10, 64); err == nil {
			a.newest = max(a.newest, built)
		}
	case 'C':
		changed, err := strconv.ParseInt(value, 10, 64)
		if err != nil || len(a.changes[a.name]) >= maxChangelog {
			return // a package without a changelog
		}
		if a.changes == nil {
			a.changes = make(map[string][]int64)
		}
		a.changes[a.name] = append(a.changes[a.name], changed)
	}
}

// finish counts the changes of the year before the newest package was built.
func (a *rpmAnswer) finish() *packages {
	for name, times := range a.changes {
		for _, changed := range times {
			if changed > a.newest-year {
				a.packages.changes[name]++
			}
		}
	}
	return a.packages
}
