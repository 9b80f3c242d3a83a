package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// defaultCommand is what Options.Command stands for when empty.
const defaultCommand = "ostree"

// findCommand returns the absolute path of the command that Options.Command names.
func findCommand(name string) (string, error) {
	if name == "" {
		name = defaultCommand
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", toolMissing(err)
	}
	return filepath.Abs(path)
}

func toolMissing(err error) error {
	return fmt.Errorf("%w: %w: install it with `apt install ostree` or `dnf install ostree`", ErrToolMissing, err)
}

// run runs the ostree command at path and returns the end of its standard output. Paths among args
// must be absolute. env is added to the environment. Errors: *command.Error, with ErrNoSpace and
// ErrReadOnly for causes that libostree words; ErrToolMissing; the cause of ctx.
func run(ctx context.Context, path string, env []string, args ...string) (string, error) {
	out, err := command.Run(ctx, command.Command{Path: path, Args: args, Env: env, Name: "ostree " + args[0]}, nil)
	var failed *command.Error
	switch {
	case errors.As(err, &failed) && strings.Contains(failed.Stderr, "min-free-space"):
		err = fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.As(err, &failed):
		err = withCause(err)
	case errors.Is(err, fs.ErrNotExist):
		err = toolMissing(err)
	}
	return out, err
}
