package proxyclient

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// registry is a docker-registry on the loopback interface.
type registry struct {
	host string // HOST:PORT
	auth string // authentication file; "" without authentication
	cert string // certificate directory; "" without TLS
}

// htpasswd has the user "user" with the password "secret".
const htpasswd = "user:$2b$04$jufEivNUwxPaAZmGSdDYKOpXxB7GK5nUPnDySV2d2o8wCG80OvhAC\n"

// startRegistry runs a registry; a secure one has TLS and wants a password.
func startRegistry(t *testing.T, secure bool) registry {
	t.Helper()
	dir := t.TempDir()
	r := registry{host: freeAddress(t)}
	settings := fmt.Sprintf("version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s/data}}\nhttp:\n  addr: %s\n", dir, r.host)
	client := http.DefaultClient
	if secure {
		r.cert = filepath.Join(dir, "certs")
		cert, key := makeCertificate(t)
		writeFile(t, filepath.Join(r.cert, "ca.crt"), cert) // for root only
		settings += fmt.Sprintf("  tls: {certificate: %s, key: %s}\nauth: {htpasswd: {realm: test, path: %s}}\n",
			writeFile(t, filepath.Join(dir, "server.crt"), cert), writeFile(t, filepath.Join(dir, "server.key"), key), writeFile(t, filepath.Join(dir, "htpasswd"), htpasswd))
		r.auth = writeAuth(t, r.host, "user:secret")
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM([]byte(cert))
		client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	}
	cmd := exec.Command(needs.Tool(t, "docker-registry"), "serve", writeFile(t, filepath.Join(dir, "config.yml"), settings))
	var log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatalf("cannot start the registry: %v (apt install docker-registry)", err)
	}
	t.Cleanup(func() {
		client.CloseIdleConnections()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	scheme := map[bool]string{false: "http", true: "https"}[secure]
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := client.Get(scheme + "://" + r.host + "/v2/")
		if err == nil {
			response.Body.Close()
			client.CloseIdleConnections()
			return r
		}
		if time.Now().After(deadline) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			t.Fatalf("the registry does not answer: %v\n%s", err, log.String())
		}
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func writeAuth(t *testing.T, host, userPassword string) string {
	t.Helper()
	return writeFile(t, filepath.Join(t.TempDir(), "auth.json"),
		fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(userPassword))))
}

// makeCertificate makes a CA that is a server for 127.0.0.1 too.
func makeCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// push puts a layout's image into the registry.
func (r registry) push(t *testing.T, layout, name string) {
	t.Helper()
	args := []string{"--preserve-digests", "oci:" + layout + ":1", "docker://" + r.host + "/" + name}
	if r.cert == "" {
		args = append(args, "--dest-tls-verify=false")
	} else {
		args = append(args, "--dest-cert-dir", r.cert, "--dest-authfile", r.auth)
	}
	skopeoCopy(t, args...)
}

func TestRegistryAnonymous(t *testing.T) {
	r := startRegistry(t, false)
	img := testImage(t, 10, 5<<20, 100<<10)
	r.push(t, writeLayout(t, img, "1"), "a/os:1")
	for _, ref := range []string{"a/os:1", "a/os@" + digestOf(img.Manifest), "a/os:1@" + digestOf(img.Manifest)} {
		t.Run(ref[:strings.IndexAny(ref, "@1")+1]+strconv.Itoa(len(ref)), func(t *testing.T) {
			cfg := realConfig(t, nobody)
			cfg.SkipTLSVerify = true
			checkLeaks(t, cfg.TempDir)
			s, err := OpenSource(within(t, time.Minute), cfg, "docker://"+r.host+"/"+ref)
			if err != nil {
				t.Fatal(err)
			}
			checkSource(t, s, img)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("errors", func(t *testing.T) {
		tests := []struct {
			name, ref string
			class     Class
			retryable bool
		}{
			{"missing tag", r.host + "/a/os:2", ClassNotFound, false},
			{"missing repository", r.host + "/b:1", ClassNotFound, false},
			{"missing digest", r.host + "/a/os@" + digest.FromString("x").String(), ClassNotFound, false},
			{"nobody listens", freeAddress(t) + "/os:1", ClassNetwork, true},
			{"bad name", r.host + "/A/OS:1", ClassReference, false},
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				cfg := realConfig(t, nobody)
				cfg.SkipTLSVerify = true
				checkLeaks(t, cfg.TempDir)
				_, err := OpenSource(within(t, time.Minute), cfg, "docker://"+tt.ref)
				if e := wantClass(t, err, tt.class); e.Retryable() != tt.retryable {
					t.Errorf("retryable %v: %v", e.Retryable(), e)
				}
			})
		}
	})
	t.Run("optional", func(t *testing.T) {
		cfg := realConfig(t, nobody)
		cfg.SkipTLSVerify = true
		p, err := Start(within(t, time.Minute), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		if got, err := p.OpenImageOptional(within(t, time.Minute), "docker://"+r.host+"/a/os:2"); got != nil || err != nil {
			t.Errorf("missing: %v, %v", got, err)
		}
		if got, err := p.OpenImageOptional(within(t, time.Minute), "docker://"+r.host+"/a/os:1"); got == nil || err != nil {
			t.Errorf("there: %v, %v", got, err)
		}
	})
}

func TestRegistryWithPasswordAndTLS(t *testing.T) {
	r := startRegistry(t, true)
	img := testImage(t, 10, 1<<20)
	r.push(t, writeLayout(t, img, "1"), "os:1")
	data, err := os.ReadFile(r.auth)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name      string
		change    func(*Config)
		class     Class // "": success
		retryable bool
	}{
		{"file", func(c *Config) { c.AuthFile = r.auth }, "", false},
		{"data", func(c *Config) { c.AuthData = data }, "", false},
		{"anonymous", func(c *Config) { c.Anonymous = true }, ClassUnauthorized, false},
		{"wrong password", func(c *Config) { c.AuthFile = writeAuth(t, r.host, "user:wrong") }, ClassUnauthorized, false},
		{"unknown CA", func(c *Config) { c.AuthFile, c.CertDir = r.auth, "" }, ClassNetwork, false},
	}
	for _, user := range []*command.User{nil, nobody} {
		for _, tt := range tests {
			name := tt.name + ", root"
			if user != nil {
				name = tt.name + ", nobody"
			}
			t.Run(name, func(t *testing.T) {
				cfg := realConfig(t, user)
				cfg.Anonymous, cfg.CertDir = false, r.cert
				tt.change(&cfg)
				checkLeaks(t, cfg.TempDir)
				s, err := OpenSource(within(t, time.Minute), cfg, "docker://"+r.host+"/os:1")
				if tt.class != "" {
					if e := wantClass(t, err, tt.class); e.Retryable() != tt.retryable {
						t.Errorf("retryable %v: %v", e.Retryable(), e)
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				checkSource(t, s, img)
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestRegistryTagMoves: all that a Source serves is of the manifest opened first.
func TestRegistryTagMoves(t *testing.T) {
	r := startRegistry(t, false)
	img := testImage(t, 1<<20, 2<<20)
	r.push(t, writeLayout(t, img, "1"), "os:1")
	cfg := realConfig(t, nobody)
	cfg.SkipTLSVerify = true
	s, err := OpenSource(within(t, time.Minute), cfg, "docker://"+r.host+"/os:1")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r.push(t, writeLayout(t, testImage(t, 20), "1"), "os:1")
	checkSource(t, s, img)
}

// TestRegistryFaults puts a faulty reverse proxy in front of the registry.
func TestRegistryFaults(t *testing.T) {
	r := startRegistry(t, false)
	img := testImage(t, 1<<20)
	r.push(t, writeLayout(t, img, "1"), "os:1")
	raw := hasRawBlobs(t)
	tests := []struct {
		name  string
		fault func(w http.ResponseWriter, req *http.Request, body []byte)
		class Class
		again bool
	}{
		{"cut", func(w http.ResponseWriter, _ *http.Request, body []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body[:len(body)/2])
			panic(http.ErrAbortHandler)
		}, ClassNetwork, true},
		{"flipped byte", func(w http.ResponseWriter, _ *http.Request, body []byte) {
			body[len(body)/2] ^= 1
			w.Write(body)
		}, ClassIntegrity, true},
		{"short", func(w http.ResponseWriter, _ *http.Request, body []byte) { w.Write(body[:len(body)/2]) }, ClassIntegrity, true},
		{"long", func(w http.ResponseWriter, _ *http.Request, body []byte) { w.Write(append(body, '!')) }, ClassIntegrity, true},
		{"500", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusInternalServerError) }, ClassNetwork, true},
		{"404", func(w http.ResponseWriter, _ *http.Request, _ []byte) { w.WriteHeader(http.StatusNotFound) }, ClassNotFound, false},
		{"stall", func(w http.ResponseWriter, req *http.Request, body []byte) {
			w.Header().Set("Content-Length", strconv.Itoa(len(body)))
			w.Write(body[:len(body)/2])
			w.(http.Flusher).Flush()
			<-req.Context().Done() // until skopeo is killed
		}, ClassTimeout, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			upstream := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: r.host})
			layer := "/blobs/" + img.Parsed.Layers[0].Digest.String()
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !strings.HasSuffix(req.URL.Path, layer) {
					upstream.ServeHTTP(w, req)
					return
				}
				tt.fault(w, req, bytes.Clone(img.Layers[0]))
			}))
			defer front.Close()
			cfg := realConfig(t, nobody)
			// skopeo 1.11 and later pause for a second before they resume a download.
			cfg.SkipTLSVerify, cfg.Timeouts.Stall = true, 3*time.Second
			s, err := OpenSource(within(t, time.Minute), cfg, "docker://"+front.Listener.Addr().String()+"/os:1")
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			_, err = readVerified(s, raw, img.Parsed.Layers[0])
			if e := wantClass(t, err, tt.class); e.Retryable() != tt.again {
				t.Errorf("retryable %v: %v", e.Retryable(), e)
			}
		})
	}
}
