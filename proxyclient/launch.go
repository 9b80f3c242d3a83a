package proxyclient

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

// tempPrefix begins the names of the directories that children get.
const tempPrefix = tempdir.SharedPrefix + "proxy-"

// firstFD is the number that the first descriptor passed to the child has there.
const firstFD = 3

// launch is what one child is started with, beside the socket: its options,
// the descriptors that they name, and its private temporary directory.
type launch struct {
	args    []string
	files   []*os.File // in the child from firstFD on; closed when it has them
	tmpdir  string     // below own
	own     *tempdir.Dir
	user    *command.User
	shelter *shelter // nil: none
	// storage: the proxy opens the host's container storage or engine, whose
	// place depends on the user's directories.
	storage bool
}

// newLaunch reads every file that the configuration names, so that a wrong name
// is our error and the child needs no access.
func newLaunch(cfg Config, t *target) (_ *launch, err error) {
	l := &launch{user: cfg.User, storage: t.storage, shelter: t.shelter}
	defer func() {
		if err != nil {
			l.release()
		}
	}()
	if err := l.makeTempDir(cfg.TempDir); err != nil {
		return nil, err
	}
	l.args = append(l.args, "--tmpdir", l.tmpdir)
	if err := l.addAuthentication(cfg); err != nil {
		return nil, err
	}
	if err := l.addTrust(cfg); err != nil {
		return nil, err
	}
	return l, l.addOptional(cfg)
}

// closeFiles closes what a started child has inherited.
func (l *launch) closeFiles() {
	for _, f := range l.files {
		f.Close()
	}
	l.files = nil
}

// release frees everything; to be called when no child runs with it any more.
func (l *launch) release() error {
	l.closeFiles()
	if l.own == nil {
		return nil
	}
	return l.own.Close()
}

// launchError makes the error of a step before the child runs. A cause of the host's says what
// helps.
func launchError(step string, err error) *Error {
	e := &Error{Class: ClassConfig, Op: "start", Message: fmt.Sprintf("%s: %v", step, err), Err: err}
	for _, cause := range hostCauses {
		if errors.Is(err, cause.errno) {
			e.Class = cause.class
			e.Message += cause.remedy
			break
		}
	}
	return e
}

// hostCauses are the errors of system calls for which no configuration is to blame.
var hostCauses = []struct {
	errno  unix.Errno
	class  Class
	remedy string
}{
	{unix.ENOSPC, ClassNoSpace, "; free space there"},
	{unix.EDQUOT, ClassNoSpace, "; free space there, or raise the quota"},
	{unix.EROFS, ClassReadOnly, "; mount its file system writable"},
	{unix.EMFILE, ClassDescriptors, "; raise the limit of open files: LimitNOFILE= of the unit, or `ulimit -n`"},
	{unix.ENFILE, ClassDescriptors, "; raise the host's limit of open files: `sysctl fs.file-max`"},
}

// tempDirError makes the error of a temporary directory that can't be made in parent.
func tempDirError(parent string, err error) *Error {
	e := launchError("cannot make the proxy's temporary directory", err)
	if e.Class == ClassConfig {
		e.Class = ClassTempDir
		e.Message += fmt.Sprintf("; make the directory with `install -d -m 1777 %s`", parent)
	}
	return e
}

// makeTempDir makes a directory for the child inside one of ours: the outer one, and the lock in
// it, belong to us whatever the child does.
func (l *launch) makeTempDir(parent string) (err error) {
	if l.own, err = tempdir.New(parent, tempPrefix); err != nil {
		return tempDirError(parent, err)
	}
	l.tmpdir = l.own.Path("proxy")
	if err = os.Mkdir(l.tmpdir, 0o700); err == nil {
		err = l.own.Share()
	}
	if err != nil {
		return tempDirError(parent, err)
	}
	return l.give("temporary directory", func(uid, gid int) error { return os.Chown(l.tmpdir, uid, gid) })
}

// give hands something to the child's user, if that is not ours.
func (l *launch) give(what string, chown func(uid, gid int) error) error {
	if l.user == nil {
		return nil
	}
	if err := chown(int(l.user.UID), int(l.user.GID)); err != nil {
		return launchError("cannot give the proxy's user its "+what, err)
	}
	return nil
}

// memory puts data into a sealed file without a name that the child's user can
// read again and again, and returns the child's path to it.
func (l *launch) memory(name string, data []byte) (string, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return "", launchError("cannot make a file in memory", err)
	}
	f := os.NewFile(uintptr(fd), name)
	l.files = append(l.files, f)
	if _, err := f.Write(data); err != nil {
		return "", launchError("cannot write a file in memory", err)
	}
	if err := f.Chmod(0o400); err != nil {
		return "", launchError("cannot protect a file in memory", err)
	}
	if err := l.give(name, f.Chown); err != nil {
		return "", err
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_SEAL); err != nil {
		return "", launchError("cannot seal a file in memory", err)
	}
	return childPath(firstFD + len(l.files) - 1), nil
}

// childPath is the path by which a child opens its descriptor fd.
func childPath(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }

// addAuthentication always says something: without an option the proxy would
// look for credentials in places of its own.
func (l *launch) addAuthentication(cfg Config) error {
	data, err := cfg.authentication()
	if err != nil {
		return err
	}
	if data == nil {
		l.args = append(l.args, "--no-creds")
		return nil
	}
	path, err := l.memory("auth", data)
	l.args = append(l.args, "--authfile", path)
	return err
}

// addTrust adds what decides whom the proxy believes.
func (l *launch) addTrust(cfg Config) error {
	if cfg.SkipTLSVerify {
		l.args = append(l.args, "--tls-verify=false")
	}
	if cfg.CertDir != "" {
		dir, err := l.certificates(cfg.CertDir)
		if err != nil {
			return err
		}
		l.args = append(l.args, "--cert-dir", dir)
	}
	if cfg.Policy != "" {
		data, err := readBounded(cfg.Policy)
		if err != nil {
			return launchError("cannot read the signature policy", err)
		}
		path, err := l.memory("policy", data)
		if err != nil {
			return err
		}
		l.args = append(l.args, "--policy", path)
	}
	return nil
}

// certificates makes a directory of links to descriptors of the files in dir:
// so a client key that only root may read serves an unprivileged proxy without
// being copied to a disk.
func (l *launch) certificates(dir string) (string, error) {
	const maxFiles = 64
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", launchError("cannot read the certificate directory", err)
	}
	entries = slices.DeleteFunc(entries, func(e os.DirEntry) bool {
		return !slices.Contains([]string{".crt", ".cert", ".key"}, filepath.Ext(e.Name()))
	})
	if len(entries) == 0 || len(entries) > maxFiles {
		return "", launchError("cannot use the certificate directory "+dir,
			fmt.Errorf("it holds %d files named *.crt, *.cert or *.key; 1 to %d are needed", len(entries), maxFiles))
	}
	links := filepath.Join(l.tmpdir, "certificates")
	if err := os.Mkdir(links, 0o755); err != nil {
		return "", launchError("cannot make a directory for certificates", err)
	}
	for _, entry := range entries {
		data, err := readBounded(filepath.Join(dir, entry.Name()))
		if err != nil {
			return "", launchError("cannot read a certificate", err)
		}
		target, err := l.memory("certificate", data)
		if err != nil {
			return "", err
		}
		if err := os.Symlink(target, filepath.Join(links, entry.Name())); err != nil {
			return "", launchError("cannot name a certificate", err)
		}
	}
	return links, nil
}

// addOptional adds the options that not every release knows.
func (l *launch) addOptional(cfg Config) error {
	if cfg.UserAgentPrefix == "" && len(cfg.DecryptionKeys) == 0 {
		return nil
	}
	help, err := helpText(cfg)
	if err != nil {
		return err
	}
	if len(cfg.DecryptionKeys) > 0 && !strings.Contains(help, "--decryption-key") {
		return &Error{Class: ClassUnsupported, Op: "start",
			Message: cfg.Command[0] + " cannot decrypt layers: its proxy has no option --decryption-key; leave the decryption keys away and use an image that is not encrypted"}
	}
	for _, key := range cfg.DecryptionKeys {
		file := ""
		if key.Data != nil {
			if file, err = l.memory("decryption key", key.Data); err != nil {
				return err
			}
		}
		l.args = append(l.args, "--decryption-key", file+key.Key)
	}
	if cfg.UserAgentPrefix != "" {
		if strings.Contains(help, "--user-agent-prefix") {
			l.args = append(l.args, "--user-agent-prefix", cfg.UserAgentPrefix)
		} else {
			cfg.Log.Debug("the image proxy has no option --user-agent-prefix: its own user agent is used")
		}
	}
	return nil
}

// environment is what the child gets beside what every program gets. HOME is not ours: what is
// there must not add credentials or settings. Where to find the network, and whom to trust there,
// is the administrator's or the caller's own to say.
func (l *launch) environment() []string {
	var env []string
	names := []string{"SSL_CERT_FILE", "SSL_CERT_DIR",
		"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy"}
	if l.storage && os.Geteuid() != 0 { // root's storage is where the host's configuration says
		names = append(names, "HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "STORAGE_DRIVER", "STORAGE_OPTS", "CONTAINERS_STORAGE_CONF", "DOCKER_HOST")
	}
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}
