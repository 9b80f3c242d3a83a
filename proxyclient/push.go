package proxyclient

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// archivePrefix begins the destination of a push that converts the image.
const archivePrefix = "docker-archive:"

// Push copies an image of an OCI layout (source is oci:DIR:TAG) with `skopeo copy`: to a registry
// (destination is docker://NAME), to a container storage that is there (containers-storage:NAME),
// or to a place that is the pushing user's alone (dir:DIR or docker-archive:FILE). It copies byte
// by byte, so that the manifest keeps its digest; but a docker-archive holds no OCI images, and
// gets a conversion. cfg is as for Start, for the destination; its policy is not asked, since the
// image is our own. The directory DIR, and the one that it is in, which must be there for it alone,
// are given to the proxy's user. Into a container storage the image is copied by the caller's user,
// as only that one may write there. A push has no time limit but ctx. Errors are *Error.
func Push(ctx context.Context, cfg Config, source, destination string) error {
	if err := checkDestination(destination); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	storage := isStorage(destination)
	if storage {
		cfg.User = nil
	}
	if err := cfg.validate(); err != nil {
		return err
	}
	cfg.Policy, cfg.DecryptionKeys, cfg.UserAgentPrefix = "", nil, ""
	l, err := newLaunch(cfg, &target{storage: storage})
	if err != nil {
		return err
	}
	if err = l.giveLayout(source); err == nil {
		err = push(ctx, cfg, l, source, destination)
	}
	if released := l.release(); err == nil && released != nil {
		err = launchError("cannot remove the temporary directory", released)
	}
	return err
}

// checkDestination refuses what nothing can be pushed to.
func checkDestination(destination string) error {
	for _, prefix := range []string{registryPrefix, "dir:", archivePrefix} {
		if strings.HasPrefix(destination, prefix) {
			return nil
		}
	}
	if !isStorage(destination) {
		return &Error{Class: ClassUnsupported, Op: "push", Message: "an image can't be pushed to " + destination +
			": write docker://HOST/NAME[:TAG], containers-storage:NAME, dir:DIR or docker-archive:FILE[:NAME]"}
	}
	err := checkStore(destination)
	var e *Error
	if errors.As(err, &e) {
		e.Op = "push"
	}
	return err
}

// giveLayout gives a layout and the directory that it is in to the child's user, the deepest first:
// as long as nobody else may enter the outermost one, nobody can replace what is below by a link to
// somewhere else.
func (l *launch) giveLayout(source string) error {
	dir := strings.TrimPrefix(source, "oci:")
	if tag := strings.LastIndexByte(dir, ':'); tag > strings.LastIndexByte(dir, '/') {
		dir = dir[:tag]
	}
	return l.give("layout", func(uid, gid int) error {
		var paths []string
		err := filepath.WalkDir(filepath.Dir(dir), func(path string, _ fs.DirEntry, err error) error {
			paths = append(paths, path)
			return err
		})
		if err != nil {
			return err
		}
		for _, path := range slices.Backward(paths) {
			if err := os.Lchown(path, uid, gid); err != nil {
				return err
			}
		}
		return nil
	})
}

func push(ctx context.Context, cfg Config, l *launch, source, destination string) error {
	args := []string{"copy", "--quiet", "--insecure-policy"}
	if !strings.HasPrefix(destination, archivePrefix) {
		args = append(args, "--preserve-digests")
	}
	if cfg.Debug {
		args = append(args, "--debug")
	}
	for _, arg := range l.args {
		if name, ok := strings.CutPrefix(arg, "--"); ok && name != "tmpdir" { // about the registry
			arg = "--dest-" + name
		}
		args = append(args, arg)
	}
	program := cfg.Command[0]
	stderr := &tail{}
	filter := &logFilter{throttle: &throttle{}, debug: cfg.debugLog(), rest: stderr}
	skopeo, err := l.command(program, append(args, source, destination)...)
	if err != nil {
		return startError(program, err)
	}
	skopeo.Stderr = filter
	_, err = command.Run(ctx, skopeo, nil)
	filter.flush()
	var failed *command.Error
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return contextError("push", ctx)
	case !errors.As(err, &failed):
		return startError(program, err)
	}
	text := logMessage(lastLine(stderr.String()))
	if text == "" {
		text = fmt.Sprintf("%s: %v", strings.Join(slices.Insert(args[:1:1], 0, program), " "), err)
	}
	e := classify("push", text, "")
	e.Stderr, e.Err = stderr.String(), err
	return e
}

// logLine is a line of skopeo's log with its message, which is quoted where that is needed.
var logLine = regexp.MustCompile(`^time="[^"]*" level=[a-z]+ msg=("(?:[^"\\]|\\.)*"|\S+)`)

// logMessage returns the message of a line of skopeo's log, and any other line as it is.
func logMessage(line string) string {
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	if message, err := strconv.Unquote(m[1]); err == nil {
		return message
	}
	return m[1]
}
