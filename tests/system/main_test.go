//go:build system

package system

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

const (
	// physical is the repository as a booted host has it, where /ostree is a
	// link to /sysroot/ostree.
	physical   = "/sysroot/ostree/repo"
	repository = "/ostree/repo"
)

func TestMain(m *testing.M) {
	if err := makeRepository(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if code != 0 {
		journal := exec.Command("journalctl", "--no-pager", "--lines=100", "--unit="+unit)
		journal.Stdout = os.Stdout
		_ = journal.Run()
	}
	os.Exit(code)
}

func makeRepository() error {
	if err := os.MkdirAll(filepath.Dir(physical), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("sysroot/ostree", "/ostree"); err != nil {
		return err
	}
	output, err := exec.Command("ostree", "init", "--repo="+physical, "--mode=bare").CombinedOutput()
	if err != nil {
		return fmt.Errorf("ostree init: %w: %s", err, output)
	}
	return nil
}
