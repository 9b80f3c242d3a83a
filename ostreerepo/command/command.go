package command

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// StopDelay is how long a program may go on after SIGTERM before it is killed.
	StopDelay = 10 * time.Second
	// maxOutput is how many of the last bytes of standard output and of standard error are kept.
	maxOutput = 8 << 10
	// searchPath is the PATH of every program: directories that only root can write to.
	searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	// noHome is the HOME of programs that get none: without root nobody can make it.
	noHome = "/nonexistent"
)

// User names the user and group that a program runs as. It has no supplementary groups.
type User struct{ UID, GID uint32 }

// Command says what to run and how. Path is all that must be set.
type Command struct {
	Path string   // of the program; absolute
	Args []string // without the program's name
	Name string   // for errors; empty: the last element of Path

	Env  []string // NAME=VALUE, in addition to the fixed environment
	Home string   // the program's HOME; empty: a directory that does not exist
	Dir  string   // its working directory; empty: /

	// User is an unprivileged user to run as, where we are root. Nil: ours.
	User *User
	// Foreground programs share our process group: only so they may read the terminal.
	Foreground bool
	// Confined programs need nothing but their descriptors and files that they can name.
	Confined bool
	Limits   Limits
	// Enter, if not nil, runs on the thread that starts the program, which serves nothing else
	// afterwards: it may move the thread to other namespaces.
	Enter func() error

	Stdin  *os.File   // nil: empty
	Stdout io.Writer  // nil: the end of it is kept
	Stderr io.Writer  // nil: the end of it is kept, for errors
	Files  []*os.File // from descriptor 3 on
}

func (c Command) name() string {
	if c.Name != "" {
		return c.Name
	}
	return filepath.Base(c.Path)
}

// environment is all that the program gets.
func (c Command) environment() []string {
	home := c.Home
	if home == "" {
		home = noHome
	}
	return append(Environment(), append([]string{"HOME=" + home}, c.Env...)...)
}

// Environment returns the fixed part of a program's environment, to which a HOME belongs: what is
// added last counts.
func Environment() []string {
	return []string{"PATH=" + searchPath, "LC_ALL=C.UTF-8", "HOME=" + noHome}
}

// build makes what os/exec starts.
func (c Command) build() (*exec.Cmd, error) {
	argv, err := c.Limits.wrap(append([]string{c.Path}, c.Args...), c.User != nil)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = c.environment()
	if cmd.Dir = c.Dir; cmd.Dir == "" {
		cmd.Dir = "/"
	}
	cmd.ExtraFiles = c.Files
	if c.Stdin != nil { // a nil *os.File is not a nil io.Reader
		cmd.Stdin = c.Stdin
	}
	cmd.WaitDelay = StopDelay // for pipes that a grandchild holds open
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL, // a program inside a blocking call does not notice that we are gone
		Setpgid:   !c.Foreground,
	}
	if c.User != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: c.User.UID, Gid: c.User.GID}
	}
	return cmd, nil
}

// Path of descriptor n of Files, as the program names it.
func FilePath(n int) string { return fmt.Sprintf("/proc/self/fd/%d", firstFile+n) }

// firstFile is the number that the first of Command.Files has in the program.
const firstFile = 3
