package setup

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/proxyclient"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestProviderWaitsForTheRepository(t *testing.T) {
	needs.Tool(t, "ostree")
	path := filepath.Join(t.TempDir(), "repo")
	var writable []bool
	config := Config{Repository: path, InitCommand: "make it so", LetWrite: func(asked string, missing bool) error {
		if asked != path {
			t.Errorf("%s is to be writable", asked)
		}
		writable = append(writable, missing)
		return nil
	}}
	open := Provider(config)
	_, err := open(t.Context())
	if importer.KindOf(err) != importer.KindNotAvailable || !strings.Contains(err.Error(), path) || !strings.HasSuffix(err.Error(), "; `make it so` makes one") {
		t.Fatalf("error %v, want one of kind NotAvailable that names %s and says what makes it", err, path)
	}
	if made, err := config.Init(t.Context(), importer.InitRequest{Mode: "bare-user"}); err != nil || !made.Created || made.Repository != path {
		t.Fatalf("%+v, %v", made, err)
	}
	first, err := open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if second, err := open(t.Context()); err != nil || second != first {
		t.Errorf("a second importer (%v), want the first again", err)
	}
	if want := []bool{false, true, false}; !slices.Equal(writable, want) {
		t.Errorf("asked to make it writable with missing %v, want %v", writable, want)
	}
}

func TestNothingIsMadeWhereNothingCanBeWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "repo")
	config := Config{Repository: path, LetWrite: func(string, bool) error { return errors.New("it stays as it is") }}
	_, err := config.Init(t.Context(), importer.InitRequest{})
	if importer.KindOf(err) != importer.KindReadOnly || !strings.Contains(err.Error(), "init: it stays as it is") {
		t.Errorf("error %v, want one of kind ReadOnly with the cause", err)
	}
}

func TestSourceError(t *testing.T) {
	for _, test := range []struct {
		class proxyclient.Class
		want  importer.Kind
	}{
		{proxyclient.ClassNotFound, importer.KindReferenceNotFound},
		{proxyclient.ClassUnauthorized, importer.KindRegistryUnauthorized},
		{proxyclient.ClassPolicy, importer.KindSignatureRejected},
		{proxyclient.ClassNetwork, importer.KindNetwork},
		{proxyclient.ClassTimeout, importer.KindTimeout},
		{proxyclient.ClassIntegrity, importer.KindDigestMismatch},
		{proxyclient.ClassToolMissing, importer.KindToolFailed},
		{proxyclient.ClassChildDied, importer.KindToolFailed},
		{proxyclient.ClassUnsupported, importer.KindUnsupportedImage},
		{proxyclient.ClassCanceled, importer.KindCanceled},
		{proxyclient.ClassNoSpace, importer.KindNoSpace},
		{proxyclient.ClassReadOnly, importer.KindReadOnly},
		{proxyclient.ClassTempDir, importer.KindNotAvailable},
		{proxyclient.ClassDescriptors, importer.KindNotAvailable},
		{proxyclient.ClassConfig, importer.KindInvalidOption},
		{proxyclient.ClassOther, importer.KindFailed},
	} {
		t.Run(string(test.class), func(t *testing.T) {
			cause := &proxyclient.Error{Class: test.class, Op: "GetBlob", Message: "reason"}
			err := sourceError(cause)
			var converted *importer.Error
			if !errors.As(err, &converted) || converted.Kind != test.want || converted.Retryable != cause.Retryable() {
				t.Errorf("%#v, want kind %s, retryable %v", err, test.want, cause.Retryable())
			}
			if !errors.Is(err, error(cause)) {
				t.Error("the cause is not in the chain")
			}
		})
	}
	for _, err := range []error{nil, io.EOF} {
		if got := sourceError(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// TestOpenHints: the error of an image that cannot be opened says what helps, and names the image
// and the credentials once.
func TestOpenHints(t *testing.T) {
	registry := reference.Image{Transport: reference.TransportRegistry, Name: "example.com/UP"}
	auth := &proxyclient.Error{Class: proxyclient.ClassUnauthorized, Message: "unauthorized"}
	for name, test := range map[string]struct {
		cause  *proxyclient.Error
		access importer.Access
		says   string
	}{
		"no reference": {&proxyclient.Error{Class: proxyclient.ClassReference, Op: "OpenImage", Message: "invalid reference format"},
			importer.Access{}, "docker://example.com/UP: OpenImage: invalid reference format; write docker://HOST/NAME"},
		"a reference that is named": {&proxyclient.Error{Class: proxyclient.ClassReference, Message: `Invalid image name "docker://example.com/UP"`},
			importer.Access{}, `Invalid image name "docker://example.com/UP"; write`},
		"an authfile":    {auth, importer.Access{AuthFile: "/srv/auth.json"}, "; the credentials are those in /srv/auth.json"},
		"anonymous":      {auth, importer.Access{Anonymous: true}, "; no credentials were used, as asked for"},
		"unverified TLS": {auth, importer.Access{SkipTLSVerify: true}, "only the credentials of an authfile are used"},
		"default":        {auth, importer.Access{}, "credentials"},
		"plain HTTP": {&proxyclient.Error{Class: proxyclient.ClassNetwork,
			Message: `Get "https://h/v2/": http: server gave HTTP response to HTTPS client`}, importer.Access{}, "--tls-verify=false"},
		"plain HTTP, tls": {&proxyclient.Error{Class: proxyclient.ClassNetwork,
			Message: `Get "https://h/v2/": tls: first record does not look like a TLS handshake`}, importer.Access{}, "registries.conf(5)"},
	} {
		err := withOpenHint(registry, test.access, sourceError(test.cause))
		if text := err.Error(); !strings.Contains(text, test.says) || strings.Count(text, "example.com/UP") > 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
