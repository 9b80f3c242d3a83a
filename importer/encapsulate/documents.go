package encapsulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/document"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Labels of an image, and the keys of the commit's metadata that some of them come from.
const (
	labelCommit   = document.LabelCommit
	labelBootable = "ostree.bootable"
	labelBootc    = "containers.bootc"
	labelLinux    = "ostree.linux"
	metaVersion   = "version"
	metaCmd       = "ostree.container-cmd"

	// annotationComponents names what a chunk holds, joined by commas.
	annotationComponents = "ostree.components"
)

// labels gives the image's labels, which are also the manifest's annotations.
func labels(s *source, own map[string]string, last digest.Digest) map[string]string {
	l := map[string]string{labelCommit: s.checksum.String()}
	if bootable, ok := s.commit.Metadata[labelBootable].AsBool(); ok {
		l[labelBootable], l[labelBootc] = strconv.FormatBool(bootable), "1"
	}
	if kernel, ok := s.commit.Metadata[labelLinux].AsString(); ok {
		l[labelLinux] = kernel
	}
	if version, ok := s.commit.Metadata[metaVersion].AsString(); ok {
		l[ocispec.AnnotationVersion] = version
	}
	maps.Copy(l, own)
	l[document.LabelFinalDiffID] = last.String()
	return l
}

// maxTimestamp is the last second that RFC 3339 can write.
const maxTimestamp = 253402300799

// created is the time of the image.
func created(commit objects.Commit, own time.Time) (time.Time, error) {
	if !own.IsZero() {
		return own.UTC(), nil
	}
	if commit.Timestamp > maxTimestamp {
		return time.Time{}, fmt.Errorf("the commit's timestamp of %d seconds can't be written as a date; give a time of creation", commit.Timestamp)
	}
	return time.Unix(int64(commit.Timestamp), 0).UTC(), nil
}

// describe says what the layer of the commit is: for people, in the history.
func (s *source) describe() string {
	if s.commit.Subject != "" {
		return s.commit.Subject
	}
	return "ostree export of commit " + s.checksum.String()
}

// describeChunk says what a chunk is, as describe does.
func describeChunk(components []string) string {
	switch n := len(components); {
	case n == 0:
		return "no components"
	case n <= 5:
		return strings.Join(components, " and ")
	default:
		return fmt.Sprintf("%d components", n)
	}
}

// config makes the image's config.
func config(s *source, opts Options, layers []Layer, labels map[string]string) ([]byte, error) {
	at, err := created(s.commit, opts.Created)
	if err != nil {
		return nil, err
	}
	c := ocispec.Image{
		Created: &at, Platform: opts.platform(),
		Config: ocispec.ImageConfig{Labels: labels, Cmd: opts.Cmd},
		RootFS: ocispec.RootFS{Type: "layers"},
	}
	if cmd, ok := s.commit.Metadata[metaCmd].AsStrings(); ok && opts.Cmd == nil {
		c.Config.Cmd = cmd
	}
	for _, l := range layers {
		c.RootFS.DiffIDs = append(c.RootFS.DiffIDs, l.DiffID)
		c.History = append(c.History, ocispec.History{Created: &at, CreatedBy: l.Name})
	}
	return canonical("config", c)
}

// manifest makes the image's manifest.
func manifest(config ocispec.Descriptor, layers []Layer, annotations map[string]string) ([]byte, error) {
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest, Config: config, Annotations: annotations,
	}
	for i, l := range layers {
		d := l.Descriptor
		if i > 0 { // ostree-ext wants it of every chunk of a prior image
			d.Annotations = map[string]string{annotationComponents: strings.Join(l.Components, ",")}
		}
		m.Layers = append(m.Layers, d)
	}
	return canonical("manifest", m)
}

func canonical(name string, v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err == nil {
		raw, _, err = document.Canonical(raw)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(raw) > document.MaxSize {
		return nil, fmt.Errorf("%s: it gets %d bytes, more than the %d that programs accept; ask for a single layer, or for fewer labels",
			name, len(raw), document.MaxSize)
	}
	return raw, nil
}

// priorChunks reads which components an earlier image had together in a layer.
func priorChunks(prior *ocispec.Manifest) [][]string {
	if prior == nil {
		return nil
	}
	var chunks [][]string
	for _, l := range prior.Layers {
		if names := l.Annotations[annotationComponents]; names != "" {
			chunks = append(chunks, slices.Compact(slices.Sorted(strings.SplitSeq(names, ","))))
		}
	}
	return chunks
}
