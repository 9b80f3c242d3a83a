package dbus

import (
	"encoding/json"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

const someDigest = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var someAccess = importer.Access{
	AuthFile:       "/etc/auth.json",
	CertDir:        "/etc/certs",
	SkipTLSVerify:  true,
	DecryptionKeys: []string{"/key1", "/key2:password", "provider:x"},
	AuthFD:         someDescriptor("/"),
	KeyFDs:         []*importer.Descriptor{someDescriptor("/proc"), someDescriptor("/sys")},
}

// someDescriptor is the descriptor of a directory that every machine has.
func someDescriptor(path string) *importer.Descriptor {
	f, err := os.Open(path)
	if err != nil {
		panic(err)
	}
	d, err := importer.NewDescriptor(f)
	if err != nil {
		panic(err)
	}
	return d
}

// carry puts the descriptors among the values of options where they are when a message has carried
// them.
func carry(t *testing.T, dict map[string]godbus.Variant) *descriptors {
	t.Helper()
	brought := &descriptors{}
	take := func(fd godbus.UnixFD) godbus.UnixFDIndex {
		dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		brought.files = append(brought.files, os.NewFile(uintptr(dup), ""))
		return godbus.UnixFDIndex(len(brought.files) - 1)
	}
	for name, value := range dict {
		switch fd := value.Value().(type) {
		case godbus.UnixFD:
			dict[name] = godbus.MakeVariant(take(fd))
		case []godbus.UnixFD:
			var indexes []godbus.UnixFDIndex
			for _, one := range fd {
				indexes = append(indexes, take(one))
			}
			dict[name] = godbus.MakeVariant(indexes)
		}
	}
	t.Cleanup(brought.close)
	return brought
}

// written is a request as JSON, which tells descriptors of different files from each other.
func written(t *testing.T, request any) string {
	t.Helper()
	raw, err := json.Marshal(request)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// bound is a request with the options that are bound to it.
type bound struct {
	request any // a pointer
	options []option
	// arguments are the fields that are no options.
	arguments []string
}

func bind[R any](options func(*R) []option, request R, arguments ...string) bound {
	return bound{&request, options(&request), arguments}
}

// requests are, by method, a request with a value in every field but the arguments, and a zero one.
func requests() map[string][2]bound {
	return map[string][2]bound{
		"Import": {bind(importOptions, importer.Request{
			Target: "docker://example.com/other", NoRef: true, Digest: someDigest, Jobs: 7, DropSpecialFiles: true, Offline: true,
			RequireBootable: true, ReuseForeign: true, RequireVerified: true, Architecture: "arm64", SkipGC: true, Access: someAccess,
			ImageFD: someDescriptor("/dev"),
		}, "image"), bind(importOptions, importer.Request{})},
		"Init": {bind(initOptions, importer.InitRequest{Mode: "bare-user"}), bind(initOptions, importer.InitRequest{})},
		"Unencapsulate": {bind(unencapsulateOptions, importer.UnencapsulateRequest{
			Ref: "os/stable", Digest: someDigest, Jobs: 7, SkipGC: true, Access: someAccess, ImageFD: someDescriptor("/dev"),
		}, "image"), bind(unencapsulateOptions, importer.UnencapsulateRequest{})},
		"Encapsulate": {bind(encapsulateOptions, importer.EncapsulateRequest{
			Labels: map[string]string{"k": "v", "empty": ""}, Cmd: []string{"/bin/sh", ""}, Architecture: "arm64", MaxLayers: 5,
			SingleLayer: true, Compression: "zstd", CompressionLevel: 3, Copy: []string{"a", "b"}, CopyOptional: []string{"c"},
			Created: "2026-01-31T12:00:00Z", ContainerConfig: "/config.json", ContentMap: "/map.json",
			Prior: "docker://x:1", Access: someAccess, PriorFD: someDescriptor("/dev"),
			DestinationFD: someDescriptor("/tmp"),
		}, "rev", "destination"), bind(encapsulateOptions, importer.EncapsulateRequest{})},
		"Export": {
			bind(exportOptions, importer.ExportRequest{
				Compression: "zstd", CompressionLevel: 3, Access: someAccess, DestinationFD: someDescriptor("/tmp"),
			}, "image", "destination"),
			bind(exportOptions, importer.ExportRequest{}),
		},
		"Copy": {
			bind(copyOptions, importer.CopyRequest{Target: "docker://x"}, "image", "repository"),
			bind(copyOptions, importer.CopyRequest{}),
		},
		"RemoveImages": {
			bind(removeOptions, importer.RemoveRequest{Force: true, SkipGC: true}, "images"),
			bind(removeOptions, importer.RemoveRequest{}),
		},
		"Prune": {
			bind(pruneOptions, importer.PruneRequest{DryRun: true, KeepLast: 3, Quota: 1 << 40, Scope: importer.PruneImages}, "scope"),
			bind(pruneOptions, importer.PruneRequest{Scope: importer.PruneImages}),
		},
		"Verify": {
			bind(verifyOptions, importer.VerifyRequest{Repair: true, Jobs: 7, Access: someAccess}, "images"),
			bind(verifyOptions, importer.VerifyRequest{}),
		},
		"Compare": {
			bind(compareOptions, importer.CompareRequest{Files: true, Access: someAccess, ImageFD: someDescriptor("/dev")}, "image", "other",
				"image-not-stored", "other-not-stored"), // the server decides on these
			bind(compareOptions, importer.CompareRequest{}),
		},
		"CheckUpdate": {
			bind(updateOptions, importer.UpdateRequest{Offline: true, Forget: true, Access: someAccess}, "image", "not-stored"), // the server decides on that
			bind(updateOptions, importer.UpdateRequest{}),
		},
	}
}

func TestOptionsComeBackAsTheyWere(t *testing.T) {
	for method, pair := range requests() {
		t.Run(method, func(t *testing.T) {
			dict, err := writeOptions(pair[0].options)
			if err != nil {
				t.Fatal(err)
			}
			names, err := readOptions(method, pair[1].options, dict, carry(t, dict))
			if err != nil || written(t, pair[1].request) != written(t, pair[0].request) {
				t.Errorf("%+v, %v, want %+v", pair[1].request, err, pair[0].request)
			}
			if want := slices.Sorted(maps.Keys(dict)); !slices.Equal(names, want) {
				t.Errorf("the names are %q, want %q", names, want)
			}
			if none, err := writeOptions(requests()[method][1].options); err != nil || len(none) > 0 {
				t.Errorf("without options: %v, %v", none, err)
			}
		})
	}
}

// TestOptionsAreTheFieldsOfTheRequest: each field can be sent, under the name that it has in JSON.
func TestOptionsAreTheFieldsOfTheRequest(t *testing.T) {
	for method, pair := range requests() {
		t.Run(method, func(t *testing.T) {
			fields := jsonFields(reflect.TypeOf(pair[0].request).Elem())
			fields = slices.DeleteFunc(fields, func(name string) bool { return slices.Contains(pair[0].arguments, name) })
			var names []string
			for _, o := range pair[0].options {
				names = append(names, o.name)
				if _, given := o.get(); !given && o.name != "auth-anonymous" {
					t.Errorf("this test gives no %s", o.name)
				}
			}
			slices.Sort(names)
			if !slices.Equal(names, fields) {
				t.Errorf("the options are\n%q, the fields\n%q", names, fields)
			}
		})
	}
}

// jsonFields are the names of a struct's fields, those of its Access among them.
func jsonFields(of reflect.Type) (names []string) {
	for i := range of.NumField() {
		if !of.Field(i).IsExported() {
			continue
		}
		name, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if name == "access" {
			names = append(names, jsonFields(of.Field(i).Type)...)
		} else {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

func TestJobOptionsComeBackAsTheyWere(t *testing.T) {
	want := daemon.JobOptions{TransactionID: "7c8ef0a2", NoQueue: true}
	dict, err := writeOptions(jobOptions(&want))
	if err != nil {
		t.Fatal(err)
	}
	dict["wait"] = godbus.MakeVariant(true)
	var got callOptions
	if _, err := readOptions("Import", got.options(), dict, nil); err != nil || got.job != want || !got.wait {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

func TestPathsBecomeAbsolute(t *testing.T) {
	dict, err := writeOptions(accessOptions(&importer.Access{AuthFile: "auth.json"}))
	if err != nil {
		t.Fatal(err)
	}
	if path := dict["authfile"].Value().(string); !strings.HasPrefix(path, "/") || !strings.HasSuffix(path, "/auth.json") {
		t.Errorf("authfile is %q", path)
	}
}

func TestInvalidOptions(t *testing.T) {
	tests := map[string]struct {
		options map[string]any
		message string
	}{
		"unknown":               {map[string]any{"jbos": uint32(1)}, `unknown option "jbos"; Import takes arch (s), auth-anonymous (b), authfile (s), authfile-fd (h), cert-dir (s), `},
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
		"anonymous credentials": {map[string]any{"auth-anonymous": true, "authfile": "/a"}, `the option "auth-anonymous": it and "authfile" exclude each other`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			var o callOptions
			_, err := readOptions("Import", append(o.options(), importOptions(&importer.Request{})...), variants(test.options), nil)
			if importer.KindOf(err) != importer.KindInvalidOption || !strings.HasPrefix(err.Error(), test.message) {
				t.Errorf("error %v, want %s…", err, test.message)
			}
		})
	}
}

func TestInvalidOptionsOfOperations(t *testing.T) {
	tests := map[string]struct {
		allowed []option
		options map[string]any
		message string
	}{
		"label without a name": {
			encapsulateOptions(&importer.EncapsulateRequest{}), map[string]any{"labels": map[string]string{"": "x"}},
			`the option "labels": a label has no name`,
		},
		"no layers": {
			encapsulateOptions(&importer.EncapsulateRequest{}), map[string]any{"max-layers": uint32(0)},
			`the option "max-layers": it has to be at least 1`,
		},
		"policy on layers": {
			pruneOptions(&importer.PruneRequest{Scope: importer.PruneLayers}), map[string]any{"keep-last": uint32(1)},
			`the option "keep-last": it says what images are kept`,
		},
		"quota on layers": {
			pruneOptions(&importer.PruneRequest{Scope: importer.PruneLayers}), map[string]any{"quota": uint64(1)},
			`the option "quota": it says what images are kept`,
		},
		"no options at all": {nil, map[string]any{"x": true}, `unknown option "x"; Method takes no options`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := readOptions("Method", test.allowed, variants(test.options), nil)
			if importer.KindOf(err) != importer.KindInvalidOption || !strings.HasPrefix(err.Error(), test.message) {
				t.Errorf("error %v, want %s…", err, test.message)
			}
		})
	}
}

// TestUpdateComesBackAsItWas holds updateProperties and readUpdate together.
func TestUpdateComesBackAsItWas(t *testing.T) {
	var want importer.Update
	text := `{"stored": true, "available": true, "reference": "docker://x", "manifest-digest": "sha256:1", "version": "2", "created": "2024-05-06T07:08:09Z",
		"layers-to-fetch": 3, "bytes-to-fetch": 4}`
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		t.Fatal(err)
	}
	got := readUpdate(variants(updateProperties(&want)))
	if got.Available = true; !reflect.DeepEqual(got, &want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if fields := reflect.ValueOf(want); fields.NumField() != 8 || len(updateProperties(&want)) != 7 {
		t.Error("a field is not sent")
	}
	want.Available = false
	if none := updateProperties(&want); len(none) != 2 {
		t.Errorf("of no update: %v", none)
	}
}
