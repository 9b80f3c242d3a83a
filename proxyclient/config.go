package proxyclient

import (
	"io"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/tempdir"
)

// Config says how the proxy is run. The zero value works: it runs
// `skopeo experimental-image-proxy` as the caller's user, with the credentials
// that [DefaultAuthFile] finds or anonymously.
type Config struct {
	// Command is the proxy's command and first arguments; options are appended.
	// Empty: skopeo experimental-image-proxy.
	Command []string

	// At most one of AuthFile (a path; it must exist), AuthData (the contents of
	// such a file) and Anonymous says what the registry is shown. With none, the
	// file that DefaultAuthFile finds is used, and without one access is
	// anonymous. The file is read here and given to the proxy as a descriptor,
	// so the proxy's user needs no access to it.
	AuthFile  string
	AuthData  []byte
	Anonymous bool

	// CertDir holds CAs (*.crt) and client pairs (*.cert, *.key). It must exist
	// and hold at least one of them; the files are given as descriptors.
	CertDir string
	// SkipTLSVerify accepts any certificate, and plain HTTP. Credentials are
	// never sent that way: it conflicts with AuthFile and AuthData, and no
	// default file is looked for.
	SkipTLSVerify bool
	// DecryptionKeys are refused when the proxy does not know such an option,
	// which is so for every skopeo up to 1.22.
	DecryptionKeys []DecryptionKey
	// Policy is a containers policy file in place of the host's. A proxy that
	// ignores policies (see Version.EnforcesPolicy) is refused unless the policy,
	// this one or the host's, accepts every image.
	Policy string
	// UserAgentPrefix goes in front of the proxy's user agent, where it can
	// (skopeo 1.21); elsewhere it has no effect.
	UserAgentPrefix string

	// User is the unprivileged user that the proxy runs as when the caller is
	// root. Nil: the caller's own.
	User *command.User
	// TempDir is where each child's private temporary directory is made, which
	// is removed when the child has ended. Archives are unpacked there. The
	// proxy's user must be able to reach it. Empty: /var/tmp.
	TempDir string

	Timeouts Timeouts
	// Retries is how often Source repeats opening an image or reading a manifest
	// or configuration after a transient error. 0: 4 times, negative: never.
	Retries int
	// Log gets what is not an error of a call. Nil: nothing is logged.
	Log logrus.FieldLogger
	// Debug passes the lines of the program's own debug log, which name
	// registries and paths, on to Log at its level debug.
	Debug bool
}

// DecryptionKey is a key for encrypted layers, as the proxy's option takes it.
type DecryptionKey struct {
	// Key is FILE[:PASSWORD], or what a provider or a token is asked for.
	Key string
	// Data, when not nil, is the content of the file, and Key only what follows its path.
	Data []byte
}

// Timeouts bounds what the proxy itself does not: it waits for ever for a
// registry. Zero fields have the default that stands with them.
type Timeouts struct {
	Initialize time.Duration // start until the first reply; 10 s
	Open       time.Duration // OpenImage, with ping, token and perhaps manifest; 120 s
	Documents  time.Duration // a Source's opening, manifest and configuration, with all that is tried again; 120 s
	Control    time.Duration // each other control call, and the verdict after a stream; 60 s
	Stall      time.Duration // a stream that brings less than 1 KiB/s over this time while somebody reads; 60 s
	Backoff    time.Duration // before the first retry; doubles each time up to 16 times this, with jitter; 500 ms
}

// The limits of Timeouts where they are not set.
const (
	maxInitialize = 10 * time.Second
	maxOpen       = 120 * time.Second
	maxDocuments  = 120 * time.Second
	maxControl    = 60 * time.Second
)

// withDefaults returns the configuration with every zero value replaced.
func (c Config) withDefaults() Config {
	if len(c.Command) == 0 {
		c.Command = []string{"skopeo", "experimental-image-proxy"}
	}
	if c.TempDir == "" {
		c.TempDir = tempdir.Shared
	}
	if c.Retries == 0 {
		c.Retries = 4
	}
	t := &c.Timeouts
	for _, limit := range []struct {
		value *time.Duration
		byDef time.Duration
	}{
		{&t.Initialize, maxInitialize},
		{&t.Open, maxOpen},
		{&t.Documents, maxDocuments},
		{&t.Control, maxControl},
		{&t.Stall, rateWindow},
		{&t.Backoff, 500 * time.Millisecond},
	} {
		if *limit.value == 0 {
			*limit.value = limit.byDef
		}
	}
	if c.Log == nil {
		discard := logrus.New()
		discard.SetOutput(io.Discard)
		c.Log = discard
	}
	return c
}

// debugLog is what is done with each line of the program's debug log; nil: nothing.
func (c Config) debugLog() func(line []byte) {
	if !c.Debug {
		return nil
	}
	return func(line []byte) { c.Log.WithField("program", c.Command[0]).Debug(printable(string(line))) }
}

// validate finds settings that contradict each other.
func (c Config) validate() error {
	switch {
	case c.AuthFile != "" && len(c.AuthData) > 0:
		return conflict("an authentication file and authentication data are both given: give one of them")
	case c.Anonymous && (c.AuthFile != "" || len(c.AuthData) > 0):
		return conflict("anonymous access and credentials are both asked for: give one of them")
	case c.SkipTLSVerify && (c.AuthFile != "" || len(c.AuthData) > 0):
		return conflict("credentials are not sent over connections whose TLS is not verified: name the registry's CA with the certificate directory, or use anonymous access")
	case c.User != nil && os.Geteuid() != 0 && int(c.User.UID) != os.Geteuid():
		return conflict("only root can run the proxy as another user")
	}
	return nil
}

func conflict(message string) *Error {
	return &Error{Class: ClassConfig, Op: "configuration", Message: message}
}
