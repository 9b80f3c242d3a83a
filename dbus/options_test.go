package dbus

import (
	"reflect"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

func TestOptionsComeBackAsTheyWere(t *testing.T) {
	request := importer.Request{
		Target:           "docker://example.com/other",
		NoRef:            true,
		Digest:           someDigest,
		Jobs:             7,
		DropSpecialFiles: true,
		Access: importer.Access{
			AuthFile:       "/etc/auth.json",
			CertDir:        "/etc/certs",
			SkipTLSVerify:  true,
			DecryptionKeys: []string{"/key1", "/key2"},
		},
	}
	job := daemon.JobOptions{TransactionID: "7c8ef0a2", NoQueue: true}
	for _, want := range []callOptions{
		{},
		{request: request, job: job},
		{request: importer.Request{Access: importer.Access{Anonymous: true}}},
	} {
		dict, err := requestVariants(want.request, want.job)
		if err != nil {
			t.Fatal(err)
		}
		got, err := readOptions("Import", importOptions, dict)
		got.names = nil
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v, want %+v", got, err, want)
		}
	}
}

func TestEveryFieldOfARequestCanBeSent(t *testing.T) {
	// Image is an argument of its own; Target and the rest are options.
	fields := reflect.TypeFor[importer.Request]().NumField() - 2 + reflect.TypeFor[importer.Access]().NumField()
	if fields != len(requestOptions) {
		t.Errorf("%d fields and %d options", fields, len(requestOptions))
	}
}

func TestPathsBecomeAbsolute(t *testing.T) {
	dict, err := requestVariants(importer.Request{Access: importer.Access{AuthFile: "auth.json"}}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if path := dict[optionAuthFile].Value().(string); !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/auth.json") {
		t.Errorf("authfile is %q", path)
	}
}

func TestInvalidOptions(t *testing.T) {
	tests := map[string]struct {
		options map[string]any
		message string
	}{
		"unknown":               {map[string]any{"jbos": uint32(1)}, `unknown option "jbos"; Import takes auth-anonymous (b), authfile (s), cert-dir (s), `},
		"type":                  {map[string]any{"wait": "yes"}, `the option "wait" is of type b, not s; Import takes `},
		"number type":           {map[string]any{"jobs": int32(1)}, `the option "jobs" is of type u, not i; Import takes `},
		"digest":                {map[string]any{"require-manifest-digest": "sha256:12"}, `the option "require-manifest-digest": "sha256:12" is not a digest`},
		"relative authfile":     {map[string]any{"authfile": "auth.json"}, `the option "authfile": "auth.json" is not an absolute path`},
		"empty cert-dir":        {map[string]any{"cert-dir": ""}, `the option "cert-dir": "" is not an absolute path`},
		"empty key":             {map[string]any{"decryption-keys": []string{""}}, `the option "decryption-keys": one of the keys is empty`},
		"empty target":          {map[string]any{"target-image": ""}, `the option "target-image": it is empty`},
		"no jobs":               {map[string]any{"jobs": uint32(0)}, `the option "jobs": it has to be between 1 and 64`},
		"many jobs":             {map[string]any{"jobs": uint32(65)}, `the option "jobs": it has to be between 1 and 64`},
		"empty transaction id":  {map[string]any{"transaction-id": ""}, `the option "transaction-id": it has to have 1 to 128 bytes`},
		"long transaction id":   {map[string]any{"transaction-id": strings.Repeat("x", 129)}, `the option "transaction-id": it has to have 1 to 128 bytes`},
		"anonymous credentials": {map[string]any{"auth-anonymous": true, "authfile": "/a"}, `"auth-anonymous" and "authfile" exclude each other`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readOptions("Import", importOptions, variants(test.options))
			if importer.KindOf(err) != importer.KindInvalidOption || !strings.HasPrefix(err.Error(), test.message) {
				t.Errorf("error %v, want %s…", err, test.message)
			}
		})
	}
	if _, err := readOptions("Prepare", prepareOptions, map[string]godbus.Variant{optionWait: godbus.MakeVariant(true)}); err == nil {
		t.Error("Prepare takes wait, and always waits")
	}
}
