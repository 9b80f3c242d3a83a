package signature

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// ErrRefused says that nobody vouches for an image in the way that its reference asks for. It is
// ostreerepo.ErrSignature.
var ErrRefused = ostreerepo.ErrSignature

// maxPolicy is the size of the largest policy file that is read, in bytes.
const maxPolicy = 1 << 20

// policyVariable is the environment variable that names a policy file.
const policyVariable = "CONTAINERS_POLICY_JSON"

// acceptsAnything is the requirement that every image meets.
const acceptsAnything = "insecureAcceptAnything"

// Environment is where the containers policy is looked for. The zero value is that of this process.
type Environment struct {
	Variable func(name string) string // nil: os.Getenv
	Root     string                   // the host's file system; empty: "/"
}

// PolicyFile returns the path of the containers policy (containers-policy.json(5)) that counts: the
// file that $CONTAINERS_POLICY_JSON names, whether it exists or not, else the first that exists of
// containers/policy.json in $XDG_CONFIG_HOME or, if that is not set, $HOME/.config, then
// /etc/containers/policy.json and /usr/share/containers/policy.json. This is the order of
// ostree-ext and of containers/image. It is "" when there is none. The error is about a place that
// can't be looked into.
func PolicyFile(env Environment) (string, error) {
	variable := env.Variable
	if variable == nil {
		variable = os.Getenv
	}
	if path := variable(policyVariable); path != "" {
		return path, nil
	}
	const name = "containers/policy.json"
	var candidates []string
	if dir := variable("XDG_CONFIG_HOME"); dir != "" {
		candidates = append(candidates, filepath.Join(dir, name))
	} else if home := variable("HOME"); home != "" {
		candidates = append(candidates, filepath.Join(home, ".config", name))
	}
	for _, dir := range []string{"etc", "usr/share"} {
		candidates = append(candidates, filepath.Join("/", env.Root, dir, name))
	}
	for _, path := range candidates {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENOTDIR) {
			return "", fmt.Errorf("look for the containers policy: %w; make it readable or name another file in $%s", err, policyVariable)
		}
	}
	return "", nil
}

// CheckPolicy returns nil if the containers policy may vouch for an image. The error is ErrRefused
// if it accepts by default whatever image it does not name, if there is none, or if it can't be
// read. What it says of single transports and registries is not looked at.
func CheckPolicy(env Environment) error {
	if err := checkPolicy(env); err != nil {
		return fmt.Errorf("containers policy: %w: %w", ErrRefused, err)
	}
	return nil
}

func checkPolicy(env Environment) error {
	path, err := PolicyFile(env)
	if err != nil {
		return err
	}
	if path == "" {
		return errors.New("there is none: write /etc/containers/policy.json with the keys of the images to accept, see containers-policy.json(5)")
	}
	insecure, err := insecureByDefault(path)
	if err != nil {
		return fmt.Errorf("%w; correct the file as containers-policy.json(5) says", err)
	}
	if insecure {
		return fmt.Errorf("%s has %q for a default, which vouches for nothing; "+
			"set the default to \"reject\" and name what to accept with its keys, or ask for ostree-unverified-image", path, acceptsAnything)
	}
	return nil
}

// insecureByDefault reports whether the default of a policy file is met by every image.
func insecureByDefault(path string) (bool, error) {
	data, err := readPolicy(path)
	if err != nil {
		return false, err
	}
	var policy struct {
		Default []struct {
			Type string `json:"type"`
		} `json:"default"`
	}
	if err := json.Unmarshal(data, &policy); err != nil {
		return false, fmt.Errorf("%s: %w", path, err)
	}
	if len(policy.Default) == 0 { // invalid; who enforces the policy says so only later
		return false, fmt.Errorf("%s has no default", path)
	}
	for _, requirement := range policy.Default {
		if requirement.Type != acceptsAnything {
			return false, nil
		}
	}
	return true, nil
}

func readPolicy(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a fifo must not block
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxPolicy+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxPolicy {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, maxPolicy)
	}
	return data, nil
}
