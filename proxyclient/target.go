package proxyclient

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/opencontainers/go-digest"
)

// target is where a Source's image is.
type target struct {
	ref     string   // for the first child
	pinned  string   // for later children; ref until the digest is known
	shelter *shelter // what a child needs to reach a local image; nil: nothing
	storage bool     // the image is in the host's container storage or engine
}

// newTarget prepares ref, and cfg for it. An unprivileged child can do nothing
// with the host's container storage or engine, so there it is privileged.
func newTarget(cfg *Config, ref string) (*target, error) {
	t := &target{ref: withoutTag(ref), storage: isStorage(ref) || strings.HasPrefix(ref, "docker-daemon:")}
	if t.storage {
		cfg.User = nil
		if err := checkStore(ref); err != nil {
			return nil, err
		}
	}
	if transport, path, rest, local := splitLocal(ref); local && cfg.User != nil {
		var err error
		if t.ref, path, err = resolveLocal(transport, path, rest); err == nil {
			t.shelter, err = newShelter(path, cfg.User)
		}
		if err != nil {
			e := &Error{Class: ClassConfig, Op: "OpenImage", Message: fmt.Sprintf("cannot use the image's path: %v", err), Err: err}
			if errors.Is(err, fs.ErrNotExist) {
				e.Class = ClassNotFound
			}
			return nil, e
		}
	}
	t.pinned = t.ref
	return t, nil
}

// pin makes later children open the image by its digest, where the transport can.
func (t *target) pin(d digest.Digest) {
	name, ok := strings.CutPrefix(t.ref, registryPrefix)
	if ok && !strings.Contains(name, "@") { // a digest that is there may be an index's
		t.pinned = registryPrefix + nameWithoutTag(name) + "@" + d.String()
	}
}

// immutable tells whether the registry or proxy itself answers for ref's digest.
func immutable(ref string) bool {
	return strings.HasPrefix(ref, registryPrefix) && strings.Contains(ref, "@")
}

const registryPrefix = "docker://"

func isStorage(ref string) bool { return strings.HasPrefix(ref, "containers-storage:") }

// withoutTag drops the tag of a registry reference that has a digest too: the
// proxy refuses both together.
func withoutTag(ref string) string {
	name, ok := strings.CutPrefix(ref, registryPrefix)
	if !ok {
		return ref
	}
	name, d, ok := strings.Cut(name, "@")
	if !ok {
		return ref
	}
	return registryPrefix + nameWithoutTag(name) + "@" + d
}

// nameWithoutTag drops the tag of HOST[:PORT]/REPOSITORY[:TAG].
func nameWithoutTag(name string) string {
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexByte(name, '/') {
		return name[:i]
	}
	return name
}

// splitLocal splits a reference to a path: rest is what follows the path, with
// its colon. The path ends at the first colon, as in the proxy.
func splitLocal(ref string) (transport, path, rest string, ok bool) {
	transport, path, _ = strings.Cut(ref, ":")
	switch transport {
	case "dir":
		return transport, path, "", true
	case "oci", "oci-archive", "docker-archive":
		if i := strings.IndexByte(path, ':'); i >= 0 {
			path, rest = path[:i], path[i:]
		}
		return transport, path, rest, true
	default:
		return "", "", "", false
	}
}
