package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"strconv"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

const (
	// pipeBuffer is how much of an archive is written at once, in bytes.
	pipeBuffer = 256 << 10
	// maxToolMemory is how much memory a program may use, in bytes.
	maxToolMemory = 4 << 30
)

// ErrToolMissing says that a program that makes file systems can't be found.
var ErrToolMissing = errors.New("a program is missing")

// find gives the path of a program.
func find(tool, debian, fedora string) (string, error) {
	path, err := exec.LookPath(tool)
	if err != nil {
		return "", fmt.Errorf("%w: %w: install it with `apt install %s` or `dnf install %s`", ErrToolMissing, err, debian, fedora)
	}
	return path, nil
}

// tool is a program that makes a file system. It parses what an image holds.
func (w *rootWriter) tool(path string, args ...string) command.Command {
	return command.Command{
		Path: path, Args: args, Confined: true, User: w.User, Files: []*os.File{w.file.out},
		Limits: command.Limits{Memory: maxToolMemory},
	}
}

// outPath is the path by which a program knows the file that it is to write.
var outPath = command.FilePath(0)

// fromArchive runs a program that reads the archive from its standard input. It opens the file that
// it is to write by its descriptor, and so must own it. On a file system without owners the program
// runs as our user.
func (w *rootWriter) fromArchive(ctx context.Context, path string, args []string, withRoot bool) (err error) {
	tool := w.tool(path, args...)
	if tool.User != nil {
		if w.file.out.Chown(int(tool.User.UID), int(tool.User.GID)) != nil {
			tool.User = nil
		} else {
			defer func() { err = errors.Join(err, w.file.out.Chown(w.file.parent.Maker())) }()
		}
	}
	_, err = command.Run(ctx, tool, func(to io.Writer) error { return w.archive(ctx, to, withRoot) })
	return err
}

// fromDirectory runs a program that reads a directory, in which files keep their owners and modes:
// no other user than ours can read them all.
func (w *rootWriter) fromDirectory(ctx context.Context, path string, args func(dir string) []string) error {
	return w.unpack(ctx, func(dir string) error {
		tool := w.tool(path, args(dir)...)
		tool.User = nil
		_, err := command.Run(ctx, tool, nil)
		return err
	})
}

// version is that of a program. The zero value is that of one that doesn't tell it.
type version struct{ major, minor int }

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

var versionPattern = regexp.MustCompile(`\b([0-9]{1,4})\.([0-9]{1,4})`)

// versionOf asks a program for its version. A program that doesn't know the question is an old one,
// and no error.
func (w *rootWriter) versionOf(ctx context.Context, path, question string) (version, error) {
	tool := w.tool(path, question)
	tool.Files = nil
	answer, err := command.Run(ctx, tool, nil)
	var failed *command.Error
	if err != nil && !errors.As(err, &failed) {
		return version{}, err
	}
	found := versionPattern.FindStringSubmatch(answer)
	if found == nil {
		return version{}, nil
	}
	major, _ := strconv.Atoi(found[1]) // digits, few enough
	minor, _ := strconv.Atoi(found[2])
	return version{major, minor}, nil
}
