package rpmdb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

const (
	// queryTimeout is how long reading a database may take. One of 500 packages takes a second.
	queryTimeout = 5 * time.Minute
	// maxCPU is how much CPU time the child may use.
	maxCPU = 30 * time.Second
	// maxMemory is how much memory the child may use, in bytes.
	maxMemory = 1 << 30
	// maxDatabase bounds the files of a database together, and each file that the child writes, in
	// bytes.
	maxDatabase = 1 << 30
)

// The formats of databases, by the names of their main files.
const (
	SQLite     = "rpmdb.sqlite"
	NDB        = "Packages.db"
	BerkeleyDB = "Packages"
)

// Verb is the first argument of the child; the name of the database's main file is the second.
const Verb = "read-rpm-database"

// Names returns the names that the main file of a database may have. Where a directory has several,
// the first one is in use.
func Names() []string { return []string{SQLite, NDB, BerkeleyDB} }

// Companions returns the names of the files, beside the main file name, that hold part of the
// database where they exist.
func Companions(name string) []string {
	if name == SQLite {
		return []string{SQLite + "-wal"}
	}
	return nil
}

// Reader reads databases with children. The program calls child.Run first. Safe for concurrent use.
type Reader struct {
	User *command.User // an unprivileged user to run the child as, where we are root; nil: ours
}

// Read reads the database whose main file is called name. fill writes its files into a directory,
// of at most the size that it is given; record gets each record of the answer. An error of either
// is returned as it is. Nothing of the answer counts when there is an error. Errors: the
// cause of ctx; *command.Error when the child failed, which says what is wrong with the database.
func (r Reader) Read(
	ctx context.Context, name string, fill func(dir string, max int64) error, record func(kind Kind, value string) error,
) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, queryTimeout, fmt.Errorf("reading the database took more than %s", queryTimeout))
	defer cancel()
	private, err := tempdir.New(tempdir.Shared, tempdir.SharedPrefix+"rpm-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, private.Close()) }()
	dir := private.Path("database")
	if err := errors.Join(private.Share(), os.Mkdir(dir, 0o700)); err != nil {
		return err
	}
	if err := fill(dir, maxDatabase); err != nil {
		return err
	}
	if err := r.give(dir); err != nil {
		return err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return err
	}
	defer self.Close()
	answer := &splitter{record: record}
	_, err = command.Run(ctx, command.Command{
		// By descriptor, because the path is another program's for the one that sets the limits,
		// and may be out of the user's reach.
		Path: command.FilePath(0), Files: []*os.File{self}, Args: []string{Verb, name}, Name: "read the RPM database",
		// One processor is enough; a trace of a crash helps nobody.
		Env: []string{"TMPDIR=" + dir, "GOMAXPROCS=1", "GOTRACEBACK=none"}, Home: dir, Dir: dir,
		User: r.User, Confined: true,
		Limits: command.Limits{Memory: maxMemory, CPU: maxCPU, FileSize: maxDatabase, Files: 64},
		Stdout: answer,
	}, nil)
	if answer.err != nil {
		return answer.err // of which the child's end is a consequence
	}
	if err == nil && len(answer.rest) > 0 {
		err = errors.New("the RPM database's reader has not ended its answer")
	}
	return withoutTrace(err)
}

// crashStatus is the exit status of a Go program that panics or has no more memory.
const crashStatus = 2

// withoutTrace replaces the trace of a crash, of which only the end may be known, by what matters.
func withoutTrace(err error) error {
	var failed *command.Error
	if !errors.As(err, &failed) || failed.ExitCode != crashStatus {
		return err
	}
	said := failed.Stderr
	failed.Stderr = "its data are malformed, or take too much memory"
	for line := range strings.Lines(said) {
		if strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
			failed.Stderr += ": " + strings.TrimSpace(line)
			break
		}
	}
	return err
}

// give gives the directory and its files to the child's user.
func (r Reader) give(dir string) error {
	if r.User == nil {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(r.User.UID), int(r.User.GID))
	})
}
