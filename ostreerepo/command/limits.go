package command

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Limits bounds what one program may use. Zero fields set no limit.
type Limits struct {
	Memory   uint64        // of private writable memory, in bytes (RLIMIT_DATA)
	CPU      time.Duration // in whole seconds (RLIMIT_CPU)
	FileSize uint64        // of each file that it writes, in bytes (RLIMIT_FSIZE)
	Files    uint64        // open descriptors (RLIMIT_NOFILE)
}

// maxProcesses bounds the processes and threads of the unprivileged user. All programs that run as
// that user share it, and so do other services where the user is "nobody".
const maxProcesses = 4096

// wrap returns the command line that runs argv under the limits. Programs with limits leave no core
// files, which could hold credentials. The number of processes is bounded for a user of its own
// only: a person's other programs count, too.
func (l Limits) wrap(argv []string, ownUser bool) ([]string, error) {
	if l == (Limits{}) {
		return argv, nil
	}
	prlimit, err := findPrlimit()
	if err != nil {
		return nil, err
	}
	wrapped := []string{prlimit, "--core=0:0"}
	add := func(resource string, value uint64) {
		if value > 0 {
			wrapped = append(wrapped, fmt.Sprintf("--%s=%d:%d", resource, value, value))
		}
	}
	add("data", l.Memory)
	if seconds := l.CPU / time.Second; seconds > 0 { // at the first value comes SIGXCPU, at the second SIGKILL
		wrapped = append(wrapped, fmt.Sprintf("--cpu=%d:%d", seconds, seconds+1))
	}
	add("fsize", l.FileSize)
	add("nofile", l.Files)
	if ownUser {
		add("nproc", maxProcesses)
	}
	return append(append(wrapped, "--"), argv...), nil
}

// findPrlimit looks where every program looks that we start.
func findPrlimit() (string, error) {
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, "prlimit")
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%w: prlimit is not in %s: install it with `apt install util-linux` or `dnf install util-linux`", os.ErrNotExist, searchPath)
}
