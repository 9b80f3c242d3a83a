// Package proxytest is an image proxy with faults, for tests. A test binary runs
// itself as the proxy: its TestMain calls [Main] first, and the command that
// [Options.Command] returns is what the client is told to run. It serves one
// image, [Options.Image], under any reference, in the protocol version asked for,
// and misbehaves where Faults says so.
package proxytest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Options is what the proxy does. The zero value is a good proxy of version
// 0.2.8 whose image has no layers.
type Options struct {
	Version string  // protocol version
	Layers  []int   // sizes of the image's layers
	Faults  []Fault // what goes wrong
	// Once, if not empty, is a file that does not exist: the first fault that
	// comes up makes it, and no fault happens when it exists, in any process.
	Once string
	// Log is a file that gets an Event per line.
	Log string
	// RejectDigests makes the signature policy reject references with a digest.
	RejectDigests bool
	// Moved, if not empty, is a file that does not exist: the first process makes
	// it, and later ones serve an image with one more layer.
	Moved string
	// Delay is how long DelayMethod takes.
	Delay       time.Duration
	DelayMethod string
	// NoImage makes OpenImageOptional find nothing.
	NoImage bool
	// Unknown are methods that do not exist, against what the version says.
	Unknown []string
}

// Event is one line of the log: the start of a process (Method is empty) or a
// request.
type Event struct {
	PID    int
	Method string   `json:",omitempty"`
	Args   []any    `json:",omitempty"`
	Argv   []string `json:",omitempty"`
	Env    []string `json:",omitempty"`
}

// marker is the first argument of a test binary that is to be the proxy.
const marker = "image-proxy-for-tests"

// Command returns the command that runs the proxy.
func (o Options) Command() []string {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	options, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	return []string{self, marker, string(options)}
}

// Main runs the proxy and exits, if this process was started by Command. Other
// processes return at once. It exits past the race detector, which would sleep
// for a second.
func Main() {
	if len(os.Args) < 3 || os.Args[1] != marker {
		return
	}
	var o Options
	if err := json.Unmarshal([]byte(os.Args[2]), &o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(1)
	}
	if len(os.Args) > 3 && os.Args[3] == "--help" {
		fmt.Println("Flags:\n      --decryption-key strings\n      --user-agent-prefix string")
		syscall.Exit(0)
	}
	if err := serve(o); err != nil {
		fmt.Fprintf(os.Stderr, "time=now level=fatal msg=%q\n", err)
		syscall.Exit(1)
	}
	syscall.Exit(0)
}

// Image is the image that the proxy serves.
type Image struct {
	Manifest []byte
	Config   []byte
	Layers   [][]byte
	Parsed   ocispec.Manifest
}

// Image returns the image: the same for the same Layers.
func (o Options) Image() Image {
	config := ocispec.Image{
		Platform: ocispec.Platform{Architecture: "amd64", OS: "linux"}, RootFS: ocispec.RootFS{Type: "layers"},
		Config: ocispec.ImageConfig{Cmd: []string{"/usr/bin/sh"}, Labels: map[string]string{"version": "1"}},
	}
	manifest := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Layers: []ocispec.Descriptor{}}
	var img Image
	for i, size := range o.Layers {
		layer := content(uint64(i), size)
		img.Layers = append(img.Layers, layer)
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(layer))
		manifest.Layers = append(manifest.Layers, descriptor(ocispec.MediaTypeImageLayer, layer))
	}
	// Indented and with a field that no parser knows, so that its exact bytes
	// are not what a re-serialised form gives.
	img.Config = []byte("{\n  \"unknown.field\": true,\n  " + string(mustJSON(config)[1:]))
	manifest.Config = descriptor(ocispec.MediaTypeImageConfig, img.Config)
	img.Parsed, img.Manifest = manifest, mustJSON(manifest)
	return img
}

// content returns bytes that differ between layers and do not repeat.
func content(seed uint64, size int) []byte {
	data := make([]byte, size)
	// Reading from it never fails.
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data)
	return data
}

func descriptor(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
