package importer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestRefusals: every image and request that can't be imported is refused with a clear text, and
// leaves nothing behind.
func TestRefusals(t *testing.T) {
	raw := func(manifest string) func(t *testing.T, i *testImage) {
		return func(_ *testing.T, i *testImage) {
			i.rawManifest = []byte(manifest)
			i.digest = digest.FromBytes(i.rawManifest)
		}
	}
	layer := func(change func(l *ocispec.Descriptor)) func(t *testing.T, i *testImage) {
		return func(t *testing.T, i *testImage) {
			change(&i.manifest.Layers[1])
			i.seal(t)
		}
	}
	config := func(change func(c map[string]any)) func(t *testing.T, i *testImage) {
		return func(t *testing.T, i *testImage) {
			change(i.config)
			i.seal(t)
		}
	}
	blob := func(change func([]byte) []byte) func(t *testing.T, i *testImage) {
		return func(_ *testing.T, i *testImage) {
			d := i.manifest.Layers[1].Digest
			i.blobs[d] = change(slices.Clone(i.blobs[d]))
		}
	}
	rawConfig := func(text string) func(t *testing.T, i *testImage) {
		return func(t *testing.T, i *testImage) {
			i.seal(t)
			i.rawConfig = []byte(text)
			i.rawManifest = bytes.ReplaceAll(i.rawManifest, []byte(i.manifest.Config.Digest), []byte(digest.FromString(text)))
			i.digest = digest.FromBytes(i.rawManifest)
		}
	}
	other := digest.FromString("other")
	cases := []struct {
		name   string
		change func(t *testing.T, i *testImage)
		req    Request
		kind   Kind
		want   string
	}{
		{name: "no reference", req: Request{Image: "-"}, kind: KindInvalidReference, want: "reference: "},
		{name: "no target", req: Request{Target: "-"}, kind: KindInvalidReference, want: "target"},
		{name: "signed", req: Request{Image: "ostree-image-signed:" + testName}, kind: KindSignatureRejected, want: "vouches for nothing"},
		{name: "signed by a remote", req: Request{Image: "ostree-remote-image:fedora:" + testName}, kind: KindSignatureRejected, want: "knows no remote"},
		{name: "negative jobs", req: Request{Jobs: -1}, kind: KindInvalidOption, want: "out of range"},
		{name: "too many jobs", req: Request{Jobs: 1000}, kind: KindInvalidOption, want: "out of range"},
		{name: "target without a ref", req: Request{NoRef: true, Target: testName}, kind: KindInvalidOption, want: "exclude"},
		{name: "required digest is none", req: Request{Digest: "sha256:1"}, kind: KindInvalidOption, want: "required digest"},
		{name: "no such image", req: Request{Image: "docker://example.com/no:1"}, kind: KindReferenceNotFound, want: "open: manifest unknown"},
		{name: "not the required digest", req: Request{Digest: other}, kind: KindManifestMismatch, want: "is required"},
		{
			name: "name of the required digest, content of another", req: Request{Image: "docker://example.com/pinned@" + other.String(), Digest: other},
			kind: KindManifestMismatch, want: "is required",
		},
		{name: "manifest is garbage", change: raw("<html>"), kind: KindUnsupportedImage, want: "not valid JSON"},
		{name: "manifest is deep garbage", change: raw(strings.Repeat("[", 1<<20)), kind: KindUnsupportedImage, want: "not valid JSON"},
		{name: "manifest is too large", change: raw(strings.Repeat(" ", document.MaxSize+1)), kind: KindUnsupportedImage, want: "more than"},
		{name: "manifest is an index", change: raw(`{"schemaVersion":2,"manifests":[{}]}`), kind: KindUnsupportedImage, want: "index"},
		{name: "manifest of another type", change: raw(`{"schemaVersion":2,"mediaType":"text/plain"}`), kind: KindUnsupportedImage, want: `"text/plain"`},
		{name: "manifest of schema 1", change: raw(`{"schemaVersion":1}`), kind: KindUnsupportedImage, want: "schema version 1"},
		{name: "artifact", change: raw(`{"schemaVersion":2,"config":{"mediaType":"application/x"}}`), kind: KindUnsupportedImage, want: "artifact"},
		{
			name: "no layers", change: raw(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json"}}`),
			kind: KindUnsupportedImage, want: "no layers",
		},
		{
			name: "config digest is none", change: raw(`{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"md5:1"},"layers":[{}]}`),
			kind: KindUnsupportedImage, want: `"md5:1"`,
		},
		{name: "source gives no digest", change: func(_ *testing.T, i *testImage) { i.digest = "" }, kind: KindManifestMismatch, want: "gives the manifest digest"},
		{name: "encrypted layer", change: layer(func(l *ocispec.Descriptor) { l.MediaType += "+encrypted" }), kind: KindUnsupportedImage, want: "layer 2/2: it is encrypted"},
		{name: "layer of another type", change: layer(func(l *ocispec.Descriptor) { l.MediaType = "text/plain" }), kind: KindUnsupportedImage, want: `"text/plain"`},
		{name: "negative size", change: layer(func(l *ocispec.Descriptor) { l.Size = -1 }), kind: KindUnsupportedImage, want: "impossible"},
		{name: "absurd size", change: layer(func(l *ocispec.Descriptor) { l.Size = 1 << 62 }), kind: KindUnsupportedImage, want: "impossible"},
		{name: "layer digest is none", change: layer(func(l *ocispec.Descriptor) { l.Digest = "sha256:../../x" }), kind: KindUnsupportedImage, want: "its digest"},
		{
			name: "one digest, two diff IDs", change: func(t *testing.T, i *testImage) { i.manifest.Layers[1] = i.manifest.Layers[0]; i.seal(t) },
			kind: KindUnsupportedImage, want: "differ in size or diff ID",
		},
		{name: "config is missing", change: rawConfig(""), kind: KindUnsupportedImage, want: "diff IDs"},
		{name: "config is garbage", change: rawConfig("{"), kind: KindUnsupportedImage, want: "config: the config is not valid JSON"},
		{name: "config is too large", change: rawConfig(strings.Repeat(" ", document.MaxSize+1)), kind: KindUnsupportedImage, want: "more than"},
		{name: "config is another", change: func(_ *testing.T, i *testImage) { i.rawConfig = []byte("{}") }, kind: KindDigestMismatch, want: "config has the digest"},
		{
			name: "manifest with a repeated key", kind: KindUnsupportedImage, want: "manifest: the manifest has no canonical JSON form: a key is there twice",
			change: func(t *testing.T, i *testImage) {
				i.rawManifest = bytes.Replace(i.rawManifest, []byte(`"layers"`), []byte(`"layers": [], "layers"`), 1)
				i.digest = digest.FromBytes(i.rawManifest)
			},
		},
		{
			name: "config whose canonical form is too large", kind: KindUnsupportedImage, want: "config: the config has no canonical JSON form: it has",
			change: func(t *testing.T, i *testImage) {
				i.seal(t)
				rawConfig(strings.Replace(string(i.rawConfig), `"linux"`, `[1e20`+strings.Repeat(",1e20", 500_000)+`]`, 1))(t, i)
			},
		},
		{
			name: "deep config", kind: KindUnsupportedImage, want: "canonical JSON form: it is not valid JSON: more than",
			change: func(t *testing.T, i *testImage) {
				i.seal(t)
				rawConfig(strings.Replace(string(i.rawConfig), `"linux"`, strings.Repeat("[", 1000)+strings.Repeat("]", 1000), 1))(t, i)
			},
		},
		{name: "too many layers", change: func(t *testing.T, i *testImage) {
			i.manifest.Layers = slices.Repeat(i.manifest.Layers, document.MaxLayers)
			i.seal(t)
		}, kind: KindUnsupportedImage, want: "the manifest has 2048 layers, more than the 1024 that are allowed"},
		{name: "too few diff IDs", change: config(func(c map[string]any) { c["rootfs"] = map[string]any{"type": "layers", "diff_ids": []string{}} }), kind: KindUnsupportedImage, want: "2 layers, but the config has 0"},
		{name: "diff ID is none", change: config(func(c map[string]any) {
			c["rootfs"] = map[string]any{"type": "layers", "diff_ids": []string{"sha256:1", "sha256:2"}}
		}), kind: KindUnsupportedImage, want: "its diff ID"},
		{name: "rootfs of another type", change: config(func(c map[string]any) { c["rootfs"] = map[string]any{"type": "base"} }), kind: KindUnsupportedImage, want: `"base"`},
		{name: "encapsulated commit", change: config(func(c map[string]any) {
			c["config"] = map[string]any{"Labels": map[string]any{"ostree.final-diffid": other}}
		}), kind: KindUnsupportedImage, want: "the image has no such layer: remove the label"},

		{name: "blob is gone", change: func(_ *testing.T, i *testImage) { clear(i.blobs) }, kind: KindManifestGone, want: "fetch: layer "},
		{name: "blob is another", change: blob(func(b []byte) []byte { b[20] ^= 1; return b }), kind: KindDigestMismatch, want: "verify: layer 2/2 sha256:"},
		{name: "blob is cut", change: blob(func(b []byte) []byte { return b[:len(b)-9] }), kind: KindDigestMismatch, want: "verify: layer 2/2"},
		{name: "blob goes on", change: blob(func(b []byte) []byte { return append(b, 0) }), kind: KindDigestMismatch, want: "verify: layer 2/2"},
		{name: "other diff ID", change: config(func(c map[string]any) {
			c["rootfs"].(map[string]any)["diff_ids"].([]any)[1] = other
		}), kind: KindDigestMismatch, want: "verify: layer 2/2"},
		{name: "device", change: func(t *testing.T, i *testImage) {
			*i = *newImage(t, []string{"f a 1"}, []string{"c dev/null0", "c x/null"})
		}, kind: KindUnsupportedImage, want: `entry "x/null": `},
		{name: "endless links", change: func(t *testing.T, i *testImage) { *i = *newImage(t, []string{"l a a"}, []string{"f a/x 1"}) }, kind: KindUnsupportedImage, want: `merge: layer 2/2 sha256:`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			image := twoLayers(t)
			if c.change != nil {
				c.change(t, image)
			}
			registry := newRegistry(testName, image)
			registry.images["docker://example.com/pinned@"+other.String()] = image
			h := newHost(t, ostreerepo.ModeBareUser, registry)
			if c.req.Image == "" {
				c.req.Image = testName
			}
			_, err := h.pull(c.req)
			var e *Error
			if !errors.As(err, &e) || e.Kind != c.kind || e.Stage == "" || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v (kind %s), want kind %s: …%s…", err, KindOf(err), c.kind, c.want)
			}
			if refs := h.refs(); strings.Contains(refs, "container/image") {
				t.Errorf("refs are %s", refs)
			}
			h.checkClean(h.refs())
		})
	}
}

// TestNothingIsFetchedInVain: what can't be in a commit's metadata is refused before the layers are
// fetched.
func TestNothingIsFetchedInVain(t *testing.T) {
	image := twoLayers(t)
	named := image.manifest.Config.Digest
	image.rawConfig = bytes.Replace(image.rawConfig, []byte(`"linux"`), []byte(strings.Repeat("[", 1000)+strings.Repeat("]", 1000)), 1)
	image.rawManifest = bytes.Replace(image.rawManifest, []byte(named), []byte(digest.FromBytes(image.rawConfig)), 1)
	image.digest = digest.FromBytes(image.rawManifest)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	_, err := h.im.Prepare(t.Context(), Request{Image: testName})
	if KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), "config: the config has no canonical JSON form") {
		t.Errorf("error %v", err)
	}
}

func TestSpecialFilesAreDropped(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, newImage(t, []string{"c x/null", "f x/y 1"})))
	h.mustPull(Request{Image: testName, NoRef: true, DropSpecialFiles: true})
	_, err := h.pull(Request{Image: testName})
	if KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), "--drop-special-files") {
		t.Errorf("error %v, want one about the device that the stored layer lacks", err)
	}
	res := h.mustPull(Request{Image: testName, DropSpecialFiles: true})
	if got, want := h.paths(res.Commit), "/ /x /x/y"; got != want {
		t.Errorf("merged paths %q, want %q", got, want)
	}
	if len(res.Filtered) != 1 {
		t.Errorf("filtered %v", res.Filtered)
	}
}

// TestRetries runs where time passes only while everything waits for it, so that back-off takes no
// real time.
func TestRetries(t *testing.T) {
	network := &Error{Kind: KindNetwork, Retryable: true, Err: errors.New("connection reset by peer")}
	denied := &Error{Kind: KindRegistryUnauthorized, Err: errors.New("denied")}
	cases := []struct {
		name     string
		failures int // of the second layer
		fail     func(blob io.ReadCloser) (io.ReadCloser, error)
		kind     Kind // "" when the import succeeds
		attempts int
	}{
		{"the network comes back", 4, func(io.ReadCloser) (io.ReadCloser, error) { return nil, network }, "", 5},
		{"the network stays away", 99, func(io.ReadCloser) (io.ReadCloser, error) { return nil, network }, KindNetwork, 5},
		{"the stream breaks off", 1, func(b io.ReadCloser) (io.ReadCloser, error) { return broken(b, network), nil }, "", 2},
		{"the content is damaged once", 1, func(b io.ReadCloser) (io.ReadCloser, error) { return broken(b, io.EOF), nil }, "", 2},
		{"the content is damaged", 99, func(b io.ReadCloser) (io.ReadCloser, error) { return broken(b, io.EOF), nil }, KindDigestMismatch, 2},
		{"the registry says no", 99, func(io.ReadCloser) (io.ReadCloser, error) { return nil, denied }, KindRegistryUnauthorized, 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				image := twoLayers(t)
				l := image.manifest.Layers
				h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
				h.registry.fault = func(_ context.Context, d digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error) {
					if d == l[1].Digest && nth <= c.failures {
						return c.fail(blob)
					}
					return blob, nil
				}
				_, err := h.pull(Request{Image: testName, Jobs: 1})
				if KindOf(err) != c.kind {
					t.Fatalf("error %v, want kind %q", err, c.kind)
				}
				attempts := 0
				for _, d := range h.registry.blobs {
					if d == l[1].Digest {
						attempts++
					}
				}
				if attempts != c.attempts {
					t.Errorf("%d attempts, want %d", attempts, c.attempts)
				}
				h.checkClean(h.refs())
			})
		})
	}
}

// broken ends a blob with err after ten bytes.
func broken(blob io.ReadCloser, err error) io.ReadCloser {
	return &brokenReader{ReadCloser: blob, rest: 10, err: err}
}

type brokenReader struct {
	io.ReadCloser
	rest int
	err  error
}

func (b *brokenReader) Read(p []byte) (int, error) {
	if b.rest == 0 {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.rest)])
	b.rest -= n
	return n, err
}

func TestBytesFetchedCountsRepeatedAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		image := newImage(t, []string{"f a 1"})
		h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
		h.registry.fault = func(_ context.Context, _ digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error) {
			if nth == 1 {
				return broken(blob, &Error{Kind: KindNetwork, Retryable: true}), nil
			}
			return blob, nil
		}
		res := h.mustPull(Request{Image: testName})
		if want := uint64(image.manifest.Layers[0].Size + 10); res.BytesFetched != want {
			t.Errorf("%d bytes fetched, want %d", res.BytesFetched, want)
		}
	})
}

// TestFailureKeepsFinishedLayers: a failing layer stops the others and is the error; a new import
// fetches only the rest.
func TestFailureKeepsFinishedLayers(t *testing.T) {
	image := newImage(t, []string{"f usr/a " + incompressible(3000)}, []string{"f usr/b " + incompressible(2000)}, []string{"f usr/c 1"})
	l := image.manifest.Layers
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	refused := &Error{Kind: KindRegistryUnauthorized, Err: errors.New("denied"), Hint: "log in"}
	var stalledEnded bool
	landed := make(chan struct{})
	var once sync.Once
	h.registry.fault = func(ctx context.Context, d digest.Digest, _ int, blob io.ReadCloser) (io.ReadCloser, error) {
		switch d {
		case l[1].Digest:
			<-ctx.Done() // a stalled layer
			stalledEnded = true
			return nil, errors.New("the child was killed")
		case l[2].Digest:
			<-landed
			return nil, refused
		}
		return blob, nil
	}
	p, err := h.im.Prepare(context.Background(), Request{Image: testName})
	h.must(err)
	_, err = p.Import(context.Background(), func(p Progress) {
		if p.LayersDone == 1 {
			once.Do(func() { close(landed) })
		}
	})
	h.must(p.Close())
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindRegistryUnauthorized || e.LayerIndex != 3 || e.LayerCount != 3 || e.Layer != l[2].Digest || !stalledEnded {
		t.Fatalf("error %v, want that of layer 3", err)
	}
	if want := "fetch: layer 3/3 " + shortDigest(l[2].Digest) + ": denied; log in"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
	h.checkClean(h.refs())

	h.registry.fault = nil
	h.registry.requested()
	res := h.mustPull(Request{Image: testName})
	if n := h.registry.requested(); n != 2 || !res.Layers[0].Cached {
		t.Errorf("%d layers were fetched, want the 2 that were missing", n)
	}
}

func TestCancel(t *testing.T) {
	for _, cause := range []struct {
		err  error
		kind Kind
	}{{context.Canceled, KindCanceled}, {context.DeadlineExceeded, KindTimeout}} {
		t.Run(string(cause.kind), func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
			ctx, cancel := context.WithCancelCause(context.Background())
			defer cancel(nil)
			h.registry.fault = func(ctx context.Context, _ digest.Digest, _ int, blob io.ReadCloser) (io.ReadCloser, error) {
				cancel(cause.err)
				<-ctx.Done()
				return nil, &Error{Kind: KindNetwork, Retryable: true, Err: errors.New("broken pipe")}
			}
			p, err := h.im.Prepare(ctx, Request{Image: testName})
			h.must(err)
			_, err = p.Import(ctx, nil)
			h.must(p.Close())
			if KindOf(err) != cause.kind {
				t.Errorf("error %v, want kind %s", err, cause.kind)
			}
			if got := h.refs(); got != "[]" {
				t.Errorf("refs are %s", got)
			}
			h.checkClean(h.refs())
		})
	}
}

func TestPrepareCanceled(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, twoLayers(t)))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := h.im.Prepare(ctx, Request{Image: testName}); KindOf(err) != KindCanceled {
		t.Errorf("error %v, want kind Canceled", err)
	}
	h.checkClean("[]")
}
