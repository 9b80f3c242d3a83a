package proxyclient

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/proxyclient/proxytest"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestStartRefusesConfig(t *testing.T) {
	dir := t.TempDir()
	auth := writeFile(t, filepath.Join(dir, "auth.json"), `{"auths":{}}`)
	garbage := writeFile(t, filepath.Join(dir, "garbage"), "user:password")
	large := writeFile(t, filepath.Join(dir, "large"), strings.Repeat(" ", maxSecretFile+1))
	missing := filepath.Join(dir, "missing")
	reject := writeFile(t, filepath.Join(dir, "reject.json"), `{"default": [{"type": "reject"}]}`)
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		change  func(*Config)
		class   Class
		message string
	}{
		{"authentication twice", func(c *Config) { c.AuthFile, c.AuthData = auth, []byte("{}") }, ClassConfig, "both given"},
		{"anonymous with a file", func(c *Config) { c.AuthFile, c.Anonymous = auth, true }, ClassConfig, "both asked for"},
		{"anonymous with data", func(c *Config) { c.AuthData, c.Anonymous = []byte("{}"), true }, ClassConfig, "both asked for"},
		{"credentials without TLS", func(c *Config) { c.AuthFile, c.SkipTLSVerify = auth, true }, ClassConfig, "credentials are not sent"},
		{"missing authentication file", func(c *Config) { c.AuthFile = missing }, ClassConfig, "no such file"},
		{"authentication file that is not JSON", func(c *Config) { c.AuthFile = garbage }, ClassConfig, "skopeo login"},
		{"authentication data that is not JSON", func(c *Config) { c.AuthData = []byte("x") }, ClassConfig, "is not JSON"},
		{"authentication file that is too large", func(c *Config) { c.AuthFile = large }, ClassConfig, "larger than"},
		{"authentication file that is a fifo", func(c *Config) { c.AuthFile = fifo }, ClassConfig, "not a regular file"},
		{"missing certificate directory", func(c *Config) { c.CertDir = missing }, ClassConfig, "no such file"},
		{"certificate directory without certificates", func(c *Config) { c.CertDir = t.TempDir() }, ClassConfig, "holds 0 files"},
		{"missing policy", func(c *Config) { c.Policy = missing }, ClassConfig, "no such file"},
		{"missing temporary directory", func(c *Config) { c.TempDir = missing }, ClassTempDir, "no such file"},
		{"missing command", func(c *Config) { c.Command = []string{missing} }, ClassToolMissing, "cannot find the image proxy"},
		{"missing skopeo", func(c *Config) { c.Command = []string{filepath.Join(dir, "skopeo")} }, ClassToolMissing, "apt install skopeo"},
		{"command that is not executable", func(c *Config) { c.Command = []string{auth} }, ClassConfig, "permission denied"},
		{"missing command with options to look for", func(c *Config) { c.Command, c.UserAgentPrefix = []string{missing}, "x" }, ClassToolMissing, "cannot find"},
		{"policy that would be ignored", func(c *Config) { c.Policy = reject; c.Command = proxytest.Options{Version: "0.2.5"}.Command() }, ClassPolicy, "ignores signature policies"},
		{"policy that is ignored and not JSON", func(c *Config) { c.Policy = garbage; c.Command = proxytest.Options{Version: "0.2.5"}.Command() }, ClassPolicy, "cannot read the signature policy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := Config{Command: proxytest.Options{}.Command(), TempDir: t.TempDir()}
			checkLeaks(t, cfg.TempDir)
			tt.change(&cfg)
			p, err := Start(within(t, 20*time.Second), cfg)
			if err == nil {
				p.Close()
			}
			e := wantClass(t, err, tt.class)
			if !strings.Contains(e.Error(), tt.message) || e.Retryable() {
				t.Errorf("error %q (retryable: %v) does not say %q", e, e.Retryable(), tt.message)
			}
		})
	}
}

// TestIgnoredPolicy: a policy that nobody enforces must ask for nothing.
func TestIgnoredPolicy(t *testing.T) {
	const accept, signed = `[{"type": "insecureAcceptAnything"}]`, `[{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]`
	tests := []struct {
		name, policy string
		refused      bool
	}{
		{"accepts everything", `{"default": ` + accept + `}`, false},
		{"accepts every transport", `{"default": ` + accept + `, "transports": {"docker-daemon": {"": ` + accept + `}}}`, false},
		{"rejects by default", `{"default": [{"type": "reject"}]}`, true},
		{"wants a signature too", `{"default": [{"type": "insecureAcceptAnything"}, {"type": "sigstoreSigned"}]}`, true},
		{"wants a signature somewhere", `{"default": ` + accept + `, "transports": {"docker": {"example.com/os": ` + signed + `}}}`, true},
		{"empty requirements", `{"default": []}`, true},
		{"no default", `{}`, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := fakeConfig(t, proxytest.Options{Version: "0.2.5"})
			cfg.Policy = writeFile(t, filepath.Join(t.TempDir(), "policy.json"), tt.policy)
			checkLeaks(t, cfg.TempDir)
			p, err := Start(within(t, 20*time.Second), cfg)
			if tt.refused {
				wantClass(t, err, ClassPolicy)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDecryptionKeysNeedTheOption(t *testing.T) {
	needs.Tool(t, "skopeo")
	cfg := Config{DecryptionKeys: []DecryptionKey{{Key: "key.pem"}}, Anonymous: true, TempDir: t.TempDir()}
	checkLeaks(t, cfg.TempDir)
	_, err := Start(within(t, 20*time.Second), cfg) // the real skopeo
	if e := wantClass(t, err, ClassUnsupported); !strings.Contains(e.Error(), "--decryption-key") {
		t.Error(e)
	}
}

// TestChild looks at what the child is given.
func TestChild(t *testing.T) {
	t.Setenv("HOME", "/home/somebody")
	t.Setenv("REGISTRY_AUTH_FILE", "/home/somebody/auth.json")
	t.Setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "ca.crt"), "certificate")
	tests := []struct {
		name   string
		change func(*Config)
		want   string // with TMP for the temporary directory
	}{
		{"anonymous", func(c *Config) { c.Anonymous = true }, "--tmpdir TMP --no-creds"},
		{"without TLS", func(c *Config) { c.SkipTLSVerify = true }, "--tmpdir TMP --no-creds --tls-verify=false"},
		{"credentials", func(c *Config) { c.AuthData = []byte(`{}`) }, "--tmpdir TMP --authfile /proc/self/fd/3"},
		{"everything", func(c *Config) {
			c.AuthData, c.CertDir, c.Policy = []byte(`{}`), dir, writeFile(t, filepath.Join(dir, "policy.json"), "{}")
			c.DecryptionKeys = []DecryptionKey{{Key: "a"}, {Key: ":secret", Data: []byte("key")}}
			c.UserAgentPrefix = "importer/1"
		}, "--tmpdir TMP --authfile /proc/self/fd/3 --cert-dir TMP/certificates --policy /proc/self/fd/5 --decryption-key a --decryption-key /proc/self/fd/6:secret --user-agent-prefix importer/1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := proxytest.Options{Log: filepath.Join(t.TempDir(), "log")}
			cfg := Config{Command: o.Command(), TempDir: t.TempDir()}
			tt.change(&cfg)
			p, err := Start(within(t, 20*time.Second), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			start := events(t, o.Log)[0]
			if got := strings.ReplaceAll(strings.TrimPrefix(strings.Join(start.Argv, " "), "--debug "), p.launch.tmpdir, "TMP"); got != tt.want {
				t.Errorf("options\n%s\nwant\n%s", got, tt.want)
			}
			for _, want := range []string{"HOME=/nonexistent", "LC_ALL=C.UTF-8", "HTTPS_PROXY=http://proxy.example.com:3128"} {
				if !slices.Contains(start.Env, want) {
					t.Errorf("environment %q lacks %s", start.Env, want)
				}
			}
			if joined := strings.Join(start.Env, "\n"); strings.Contains(joined, "somebody") {
				t.Errorf("environment %q", start.Env)
			}
		})
	}
}

func TestDefaultAuthFile(t *testing.T) {
	tests := []struct {
		name  string
		uid   int
		files []string
		want  string
	}{
		{"none", 0, nil, ""},
		{"run wins", 0, []string{"run/ostree/auth.json", "etc/ostree/auth.json", "usr/lib/ostree/auth.json"}, "run/ostree/auth.json"},
		{"then etc", 0, []string{"etc/ostree/auth.json", "usr/lib/ostree/auth.json"}, "etc/ostree/auth.json"},
		{"then usr/lib", 0, []string{"usr/lib/ostree/auth.json"}, "usr/lib/ostree/auth.json"},
		{"not another's", 0, []string{"runtime/ostree/auth.json", "config/ostree/auth.json"}, ""},
		{"user: runtime wins", 1000, []string{"runtime/ostree/auth.json", "config/ostree/auth.json"}, "runtime/ostree/auth.json"},
		{"user: then config", 1000, []string{"config/ostree/auth.json"}, "config/ostree/auth.json"},
		{"user: not root's", 1000, []string{"etc/ostree/auth.json"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			t.Setenv("XDG_RUNTIME_DIR", filepath.Join(root, "runtime"))
			t.Setenv("XDG_CONFIG_HOME", filepath.Join(root, "config"))
			for _, file := range tt.files {
				writeFile(t, filepath.Join(root, file), "{}")
			}
			if tt.want != "" {
				tt.want = filepath.Join(root, tt.want)
			}
			if got, err := DefaultAuthFile(root, tt.uid); err != nil || got != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
		})
	}
	t.Run("unreadable is not anonymous", func(t *testing.T) {
		root := t.TempDir()
		writeFile(t, filepath.Join(root, "run/ostree"), "a file, not a directory")
		_, err := DefaultAuthFile(root, 0)
		wantClass(t, err, ClassConfig)
	})
}

func TestClassify(t *testing.T) {
	tests := []struct {
		text, code string
		class      Class
		retryable  bool
	}{
		{"reading manifest 1 in h/r: manifest unknown: manifest unknown", "", ClassNotFound, false},
		{"fetching manifest 1 in h/r: reading manifest 1 in h/r: name unknown", "other", ClassNotFound, false},
		{"reading manifest 1 in h/r: StatusCode: 404, <html>", "", ClassNotFound, false},
		{"Error fetching blob: invalid status code from registry 404 (Not Found)", "", ClassNotFound, false},
		{"fetching blob: blob unknown to registry", "", ClassNotFound, false},
		{`open /x/blobs/sha256/00: no such file or directory`, "", ClassNotFound, false},
		{`no descriptor found for reference "t"`, "", ClassNotFound, false},
		{`reference "[vfs@/a+/b]x" does not resolve to an image ID`, "", ClassNotFound, false},
		{`Tag "docker.io/library/x:latest" not found`, "", ClassNotFound, false},
		{"reading manifest 1 in h/r: unauthorized", "", ClassUnauthorized, false},
		{"unable to retrieve auth token: invalid username/password: unauthorized", "", ClassUnauthorized, false},
		{"reading manifest 1 in h/r: denied", "", ClassUnauthorized, false},
		{"requested access to the resource is denied", "", ClassUnauthorized, false},
		{"reading manifest 1 in h/r: authentication required", "other", ClassUnauthorized, false},
		{"open /x: permission denied", "", ClassOther, false},
		{"reading manifest 1 in h/r: toomanyrequests", "retryable", ClassNetwork, true},
		{"too many requests to registry", "", ClassNetwork, true},
		{"received unexpected HTTP status: 500 Internal Server Error", "other", ClassNetwork, true},
		{"invalid status code from registry 503 (Service Unavailable)", "", ClassNetwork, true},
		{"dial tcp 192.0.2.1:443: connect: connection refused", "retryable", ClassNetwork, true},
		{"read: connection reset by peer", "", ClassNetwork, true},
		{"dial udp 192.0.2.1:53: connect: network is unreachable", "other", ClassNetwork, true},
		{"dial tcp: lookup h: no such host", "other", ClassNetwork, true},
		{"net/http: TLS handshake timeout", "", ClassNetwork, true},
		{"unexpected EOF (after reconnecting, server did not process a Range: header, status 200)", "other", ClassNetwork, true},
		{"tls: first record does not look like a TLS handshake", "", ClassNetwork, false},
		{"x509: certificate signed by unknown authority", "", ClassNetwork, false},
		{"remote error: tls: bad certificate", "", ClassNetwork, false},
		{`no image found in image index for architecture "s390x"`, "", ClassUnsupported, false},
		{"invalid character '<' looking for beginning of value", "", ClassUnsupported, false},
		{"unsupported legacy manifest MIME type: prettyjws", "", ClassUnsupported, false},
		{`unsupported image-specific operation on artifact with type "x"`, "", ClassUnsupported, false},
		{"Manifest does not match provided manifest digest sha256:00", "", ClassIntegrity, true},
		{"Download config.json digest a does not match expected b", "", ClassIntegrity, true},
		{"corrupted blob, expecting sha256:00", "", ClassIntegrity, true},
		{"expected 5 bytes in blob, got 6", "", ClassIntegrity, true},
		{"Source image rejected: Running image docker://x is rejected by policy.", "", ClassPolicy, false},
		{"A signature was required, but no signature exists", "", ClassPolicy, false},
		{`invalid policy in "/p": x`, "", ClassPolicy, false},
		{"open /etc/containers/policy.json: no such file or directory", "", ClassPolicy, false},
		{`Invalid image name "x", unknown transport "y"`, "", ClassReference, false},
		{`unmarshaling JSON at "/proc/self/fd/3": unexpected end of JSON input`, "", ClassConfig, false},
		{"more than one image in oci, choose an image", "", ClassConfig, false},
		{"invalid checksum digest length", "", ClassReference, false},
		{`Get "https://x:99999/v2/": dial tcp: address 99999: invalid port`, "", ClassReference, false},
		{`Get "http://x/v2/y/manifests/t": EOF`, "", ClassNetwork, true},
		{"unexpected end of JSON input", "", ClassUnsupported, false},
		{"json: cannot unmarshal array into Go value of type manifest.OCI1", "", ClassUnsupported, false},
		{"invalid character '{' exceeded max depth", "", ClassUnsupported, false},
		// What a registry or an image says chooses no class.
		{"reading manifest t in h/r: unknown: unauthorized: authentication required", "", ClassOther, false},
		{"reading manifest t in h/r: unknown: no space left on device", "", ClassOther, false},
		{"reading manifest t in h/r: manifest unknown: no space left on device", "", ClassNotFound, false},
		{"reading manifest t in h/r: denied: manifest unknown: manifest unknown", "", ClassUnauthorized, false},
		{"reading manifest t in h/r: manifest unknown: denied: x509: StatusCode: 503", "", ClassNotFound, false},
		{"reading manifest t in h/r: StatusCode: 404, unauthorized: x", "", ClassNotFound, false},
		{"reading manifest t in h/r: StatusCode: 418, read-only file system", "", ClassOther, false},
		{"reading manifest t in h/r: errors:\nunknown: a\nunauthorized: too many open files\n", "", ClassOther, false},
		{"reading manifest t in h/r: errors:\ndenied: a\nunknown: connection refused\n", "", ClassUnauthorized, false},
		{"reading manifest t in h/r: manifest invalid: rejected by policy", "", ClassOther, false},
		{"reading manifest t in h/r: toomanyrequests: StatusCode: 404", "", ClassNetwork, true},
		{"reading manifest t in h/r: received unexpected HTTP status: 502 no space left on device", "", ClassNetwork, true},
		{`error parsing HTTP 403 response body: invalid character '<': "<p>manifest unknown</p>"`, "", ClassUnauthorized, false},
		{`Get "http://h/unauthorized: denied": dial tcp: lookup h: no such host`, "", ClassNetwork, true},
		{`Get "http://h/no space left on device": EOF`, "", ClassNetwork, true},
		{`Get "file:///etc/unauthorized": unsupported protocol scheme "file"`, "", ClassNetwork, false},
		{`Get "/v2/unauthorized": stopped after 10 redirects`, "", ClassNetwork, false},
		{"unsupported manifest MIME type: application/unauthorized: denied", "", ClassUnsupported, false},
		{"loading tar component a: unauthorized: no space left on device: file does not exist", "", ClassUnsupported, false},
		{"x509: certificate is valid for unauthorized: no space left on device, not h", "", ClassNetwork, false},
		{`parsing time "x: unauthorized: timeout" as "2006": cannot parse "x"`, "", ClassOther, false},
		{"net/http: HTTP/1.x transport connection broken: malformed MIME header: read-only file system", "", ClassNetwork, false},
		{`malformed HTTP response "unauthorized: manifest unknown"`, "", ClassNetwork, false},
		{"open /srv/timeout/unauthorized/denied: permission denied", "", ClassOther, false},
		{`creating temp directory: untarring file "/x": archive/tar: invalid tar header`, "", ClassUnsupported, false},
		{`creating temp directory: untarring file "/x": write /y: no space left on device`, "", ClassNoSpace, false},
		{"unexpected digest reference sha256:../x: invalid checksum digest length", "", ClassUnsupported, false},
		{"words of tomorrow", "", ClassOther, false},
		{"words of tomorrow", "other", ClassOther, false},
		{"words of tomorrow", "retryable", ClassNetwork, true},
		{"", "", ClassOther, false},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			e := classify("Op", tt.text, tt.code)
			if e.Class != tt.class || e.Retryable() != tt.retryable {
				t.Errorf("class %s, retryable %v; want %s, %v", e.Class, e.Retryable(), tt.class, tt.retryable)
			}
			if !strings.HasPrefix(e.Error(), "Op: ") || len(e.Error()) <= len("Op: ") {
				t.Errorf("text %q", e)
			}
		})
	}
}

func TestErrorTextIsOneBoundedLine(t *testing.T) {
	e := classify("Op", "a\nb\x1b[31m\u009b\xff"+strings.Repeat("x", 2*maxText), "")
	if text := e.Error(); strings.ContainsAny(text, "\n\x1b") || len(text) > maxText+20 || !strings.HasPrefix(text, "Op: a b [31m \uFFFD") {
		t.Errorf("%d bytes: %.40q", len(text), text)
	}
}

func TestBackoff(t *testing.T) {
	cfg := Config{Timeouts: Timeouts{Backoff: time.Second}}
	for attempt, want := range []time.Duration{1, 2, 4, 8, 16, 16, 16} {
		want *= time.Second
		for range 50 {
			if got := cfg.backoff(attempt); got < want/2 || got > want+want/2 {
				t.Errorf("attempt %d: %v, want %v give or take half", attempt, got, want)
			}
		}
	}
}

func TestSplitLocal(t *testing.T) {
	tests := []struct {
		ref, transport, path, rest string
		ok                         bool
	}{
		{"oci:/a/b", "oci", "/a/b", "", true},
		{"oci:/a/b:tag:1", "oci", "/a/b", ":tag:1", true},
		{"oci:/a/b:@0", "oci", "/a/b", ":@0", true},
		{"oci-archive:./a.tar:tag", "oci-archive", "./a.tar", ":tag", true},
		{"docker-archive:/a.tar:example.com/x:1", "docker-archive", "/a.tar", ":example.com/x:1", true},
		{"dir:/a:b", "dir", "/a:b", "", true},
		{"docker://example.com/x:1", "", "", "", false},
		{"containers-storage:example.com/x", "", "", "", false},
	}
	for _, tt := range tests {
		t.Run(tt.ref, func(t *testing.T) {
			transport, path, rest, ok := splitLocal(tt.ref)
			if transport != tt.transport || path != tt.path || rest != tt.rest || ok != tt.ok {
				t.Errorf("%q %q %q %v", transport, path, rest, ok)
			}
		})
	}
}
