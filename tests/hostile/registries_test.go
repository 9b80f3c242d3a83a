//go:build hostile

package hostile

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// registry serves one image under every name and tag, but for what a row spoils.
type registry struct {
	img      *ociimage.Image
	manifest http.HandlerFunc // nil: a good answer
	blob     http.HandlerFunc // of the layer; nil: a good answer
	ping     http.HandlerFunc // of /v2/; nil: a good answer
}

func (g *registry) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch _, d, isBlob := strings.Cut(r.URL.Path, "/blobs/"); {
	case isBlob && digest.Digest(d) == g.img.Layers[0].Digest && g.blob != nil:
		g.blob(w, r)
	case isBlob && g.img.Blobs[digest.Digest(d)] == nil:
		w.WriteHeader(http.StatusNotFound)
	case isBlob:
		w.Write(g.img.Blobs[digest.Digest(d)])
	case strings.Contains(r.URL.Path, "/manifests/") && g.manifest != nil:
		g.manifest(w, r)
	case strings.Contains(r.URL.Path, "/manifests/"):
		g.good(w, g.img.Manifest)
	case g.ping != nil:
		g.ping(w, r)
	}
}

// good answers with a manifest.
func (g *registry) good(w http.ResponseWriter, raw []byte) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	w.Header().Set("Docker-Content-Digest", digest.FromBytes(raw).String())
	w.Write(raw)
}

// slowLimit bounds what a row of registries may take: three attempts for a layer, each of which is
// given up after a minute, are the longest.
const slowLimit = 4 * time.Minute

// method is how an image is asked for: Prepare reads documents only, and such jobs have slots of
// their own.
type method string

const (
	prepare method = "Prepare"
	pull    method = "Import"
)

// registryRow is a row for a registry that spoil has changed.
func registryRow(name, want, says string, how method, spoil func(*registry)) row {
	return row{name: name, want: want, says: says, how: how, ask: func(t *testing.T, s *stage) error {
		img, err := ociimage.Spec{Layers: []ociimage.Layer{{Tar: archive(entry{Header: file("usr/" + digest.FromString(name).Encoded()).Header, content: strings.Repeat(name, 10_000)}), Compression: ociimage.None}}}.Build()
		if err != nil {
			return err
		}
		g := &registry{img: img}
		spoil(g)
		server := httptest.NewServer(g)
		defer server.Close()
		defer server.CloseClientConnections() // what an answer waits for ends with its connection
		return s.askFor(how, server.Listener.Addr().String())
	}}
}

func (s *stage) askFor(how method, host string) error {
	given := options{"insecure-skip-tls-verification": true}
	if how == pull {
		given["wait"] = true
	}
	return s.call(string(how), "docker://"+host+"/x:t", variants(given)).Err
}

// status answers with a status and a body.
func status(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		io.WriteString(w, body)
	}
}

// redirect answers with where else to look.
func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

// circle redirects to itself for ever.
func circle(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
}

// endless answers with bytes until nobody wants any more.
func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	for {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
			return
		}
	}
}

// silent does not answer.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// drip answers with a byte every now and then.
func drip(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
	w.Header().Set("Content-Length", "1000000")
	ticker := time.NewTicker(3 * time.Second)
	defer ticker.Stop()
	for {
		w.Write([]byte{' '})
		http.NewResponseController(w).Flush()
		select {
		case <-ticker.C:
		case <-r.Context().Done():
			return
		}
	}
}

// hangUp breaks the connection off.
func hangUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// raw answers with bytes that need not be HTTP.
func raw(answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		io.WriteString(conn, answer)
	}
}

// registryRows are about registries that misbehave.
func registryRows() []row {
	const (
		offline, none, auth = "Network", "ReferenceNotFound", "RegistryUnauthorized"
		bad, wrong          = "UnsupportedImage", "DigestMismatch"
		late                = "Timeout"
	)
	manifest := func(name, want, says string, answer http.HandlerFunc) row {
		return registryRow(name, want, says, prepare, func(g *registry) { g.manifest = answer })
	}
	changed := func(name, want, says string, change func(g *registry) http.HandlerFunc) row {
		return registryRow(name, want, says, prepare, func(g *registry) { g.manifest = change(g) })
	}
	ping := func(name, want, says string, answer http.HandlerFunc) row {
		return registryRow(name, want, says, prepare, func(g *registry) { g.ping = answer })
	}
	rows := []row{
		ping("what is no registry", "ReferenceNotFound", "", status(http.StatusNotFound, "<html>nothing here</html>")),
		ping("what is no HTTP", "Network", "", raw("SSH-2.0-OpenSSH_9.2\r\n")),
		ping("an endless answer to the ping", offline+"|"+late+"|"+none+"|", "", endless),
		ping("a token from an endless server", offline+"|"+auth+"|"+late+"|Failed|"+bad, "", status(http.StatusUnauthorized, "", "WWW-Authenticate", `Bearer realm="http://127.0.0.1:1/token",service="x"`)),
		ping("a realm that is a file", "Network", "", status(http.StatusUnauthorized, "", "WWW-Authenticate", `Bearer realm="file:///etc/shadow",service="x"`)),
		ping("a challenge of noise", offline+"|"+auth+"|Failed|"+none+"|", "", status(http.StatusUnauthorized, "", "WWW-Authenticate", strings.Repeat("=,\"", 1000))),
		manifest("401", auth, "", status(http.StatusUnauthorized, "")),
		manifest("401 with a page", auth, "", status(http.StatusUnauthorized, "<html>log in</html>")),
		manifest("403", auth, "", status(http.StatusForbidden, "")),
		manifest("403 with a page", auth, "", status(http.StatusForbidden, "<html>no</html>")),
		manifest("404", none, "", status(http.StatusNotFound, "")),
		manifest("404 with a page", none, "", status(http.StatusNotFound, "<html>none</html>")),
		manifest("418", "Failed", "", status(http.StatusTeapot, "")),
		manifest("429 for an hour", offline, "1h0m0s", status(http.StatusTooManyRequests, "", "Retry-After", "3600")),
		manifest("429 for a century", offline, "wait", status(http.StatusTooManyRequests, "", "Retry-After", "3155760000")),
		manifest("500", offline, "", status(http.StatusInternalServerError, "")),
		manifest("503 for an hour", offline, "503", status(http.StatusServiceUnavailable, "", "Retry-After", "3600")),
		manifest("an error of 100,000 lines", offline+"|Failed|"+late+"|"+none, "", status(http.StatusBadRequest, `{"errors":[`+strings.Repeat(`{"code":"UNKNOWN","message":"`+strings.Repeat("m", 30)+`"},`, 100_000)+`{}]}`, "Content-Type", "application/json")),
		manifest("an error with escape sequences", "ReferenceNotFound", "", status(http.StatusNotFound, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown \u001b[2J\u0007"}]}`, "Content-Type", "application/json")),
		manifest("a redirect to itself", "Network", "", circle),
		manifest("a redirect to a file", "Network", "", redirect("file:///etc/shadow")),
		manifest("a redirect to nothing", "Network", "", redirect("http://127.0.0.1:1/v2/x/manifests/t")),
		manifest("an endless manifest", bad, "", endless),
		manifest("a manifest cut off", offline+"|"+bad, "", status(http.StatusOK, `{"schemaVersion":2`, "Content-Type", ocispec.MediaTypeImageManifest, "Content-Length", "5000")),
		manifest("a page for a manifest", "UnsupportedImage", "", status(http.StatusOK, "<html>welcome</html>", "Content-Type", "text/html")),
		manifest("a connection that is closed", offline, "", hangUp),
		manifest("headers of 20 MB", "Network", "", raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 20<<20)+"\r\n\r\n")),
		manifest("headers of noise", "Network", "", raw("HTTP/1.1 200 OK\r\nno header\r\n\r\n")),
		manifest("a manifest of schema 1", bad, "", status(http.StatusOK, `{"schemaVersion":1,"name":"x","tag":"t","architecture":"amd64","fsLayers":[],"history":[]}`, "Content-Type", "application/vnd.docker.distribution.manifest.v1+json")),
		manifest("an index without manifests", bad, "", status(http.StatusOK, indexOf(), "Content-Type", ocispec.MediaTypeImageIndex)),
		manifest("an index for other machines", bad, "", status(http.StatusOK, indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":100,"platform":{"architecture":"mips","os":"plan9"}}`, ocispec.MediaTypeImageManifest, digest.FromString("x"))), "Content-Type", ocispec.MediaTypeImageIndex)),
		changed("an index that leads to itself", "DigestMismatch", "", func(*registry) http.HandlerFunc {
			text := indexOf(fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":100,"platform":{"architecture":"amd64","os":"linux"}}`, ocispec.MediaTypeImageIndex, digest.FromString("x")))
			return status(http.StatusOK, text, "Content-Type", ocispec.MediaTypeImageIndex)
		}),
		changed("a manifest that calls itself another", "", "", func(g *registry) http.HandlerFunc {
			return status(http.StatusOK, string(g.img.Manifest), "Content-Type", ocispec.MediaTypeImageManifest, "Docker-Content-Digest", digest.FromString("other").String())
		}),
		changed("a config that is not there", none+"|ManifestGone", "", func(g *registry) http.HandlerFunc {
			raw := bytes.ReplaceAll(g.img.Manifest, []byte(g.img.ConfigDigest), []byte(digest.FromString("nothing")))
			return func(w http.ResponseWriter, _ *http.Request) { g.good(w, raw) }
		}),
	}
	return append(rows, deliveryRows()...)
}

// deliveryRows are about registries whose documents are good, and whose layers are not.
func deliveryRows() []row {
	const offline, wrong = "Network", "DigestMismatch"
	layer := func(name, want string, answer func(blob []byte) http.HandlerFunc) row {
		return registryRow(name, want, "", pull, func(g *registry) { g.blob = answer(g.img.Blobs[g.img.Layers[0].Digest]) })
	}
	fixed := func(name, want string, answer http.HandlerFunc) row {
		return layer(name, want, func([]byte) http.HandlerFunc { return answer })
	}
	return []row{
		layer("a layer with a byte changed", wrong, func(blob []byte) http.HandlerFunc {
			spoilt := bytes.Clone(blob)
			spoilt[len(spoilt)/2] ^= 1
			return status(http.StatusOK, string(spoilt))
		}),
		layer("half of a layer as if that were all", "DigestMismatch", func(blob []byte) http.HandlerFunc { return status(http.StatusOK, string(blob[:len(blob)/2])) }),
		layer("a layer with more behind it", wrong, func(blob []byte) http.HandlerFunc {
			return status(http.StatusOK, string(blob)+strings.Repeat("more", 100_000))
		}),
		fixed("a layer of zeros for ever", wrong, endless),
		fixed("a layer that is gone", "ManifestGone", status(http.StatusNotFound, "")),
		fixed("a layer for others", "RegistryUnauthorized", status(http.StatusForbidden, "")),
		fixed("a layer after an hour", offline, status(http.StatusTooManyRequests, "", "Retry-After", "3600")),
		fixed("a layer in a circle", "Network", circle),
		fixed("a layer on the host", "Network", redirect("file:///etc/shadow")),
		fixed("a layer whose connection is closed", offline, hangUp),
	}
}

// outcome is how an attack in the background ended.
type outcome struct {
	err  error
	took time.Duration
}

// startSlow starts what takes long because others are slow or are asked again and again, so that it
// goes on beside the other tables. The returned function waits for it and compares. A slot for
// imports stays free for the other tables.
func startSlow(t *testing.T, s *stage) func(*testing.T) {
	rows := append([]row{
		registryRow("a manifest that does not come", "Timeout", "2m0s", prepare, func(g *registry) { g.manifest = silent }),
		registryRow("a manifest byte by byte", "Timeout", "2m0s", prepare, func(g *registry) { g.manifest = drip }),
		registryRow("a layer byte by byte", "Timeout", "too slow", pull, func(g *registry) { g.blob = drip }),
	}, registryRows()...)
	slots := map[method]chan struct{}{prepare: make(chan struct{}, 4), pull: make(chan struct{}, 3)}
	ended := make([]chan outcome, len(rows))
	for i, r := range rows {
		ended[i] = make(chan outcome, 1)
		slot := slots[r.how]
		go func() {
			slot <- struct{}{}
			defer func() { <-slot }()
			began := time.Now()
			err := r.ask(t, s)
			ended[i] <- outcome{err, time.Since(began)}
		}()
	}
	return func(t *testing.T) {
		for i, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				o := <-ended[i]
				r.check(t, o.err)
				t.Logf("%.1f s", o.took.Seconds())
				if o.took > slowLimit {
					t.Errorf("it took %v", o.took)
				}
			})
		}
	}
}
