package encapsulate

import (
	"encoding/json"
	"errors"
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
func labels(s *source, opts Options, last digest.Digest) (map[string]string, error) {
	l := make(map[string]string)
	for i, key := range slices.Concat(opts.Copy, opts.CopyOptional) {
		value, there := s.commit.Metadata[key]
		if !there && i >= len(opts.Copy) {
			continue
		}
		text, ok := value.AsString()
		if !ok {
			return nil, fmt.Errorf("%w: the commit's metadata has no text %q", ErrNoKey, key)
		}
		l[key] = text
	}
	l[labelCommit] = s.checksum.String()
	if bootable, ok := s.commit.Metadata[labelBootable].AsBool(); ok {
		l[labelBootable], l[labelBootc] = strconv.FormatBool(bootable), "1"
	}
	if kernel, ok := s.commit.Metadata[labelLinux].AsString(); ok {
		l[labelLinux] = kernel
	}
	if version, ok := s.commit.Metadata[metaVersion].AsString(); ok {
		l[ocispec.AnnotationVersion] = version
	}
	maps.Copy(l, opts.Labels)
	l[document.LabelFinalDiffID] = last.String()
	return l, nil
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
	if opts.Config == nil {
		return canonical("config", c)
	}
	return withConfig(c, opts.Config)
}

// withConfig is an image's config with what else base says of how a container is run.
func withConfig(image ocispec.Image, base []byte) ([]byte, error) {
	var run, all map[string]json.RawMessage
	if err := json.Unmarshal(base, &run); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var parsed ocispec.ImageConfig
	if err := json.Unmarshal(base, &parsed); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	labels := maps.Clone(parsed.Labels)
	if labels == nil {
		labels = make(map[string]string)
	}
	maps.Copy(labels, image.Config.Labels)
	replaced := map[string]any{"Labels": labels}
	if image.Config.Cmd != nil {
		replaced["Cmd"] = image.Config.Cmd
	}
	raw, err := json.Marshal(image)
	if err == nil {
		err = json.Unmarshal(raw, &all)
	}
	for name, value := range replaced {
		if err == nil {
			run[name], err = json.Marshal(value)
		}
	}
	if err == nil {
		all["config"], err = json.Marshal(run)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return canonical("config", all)
}

// ParseConfig checks a text for Options.Config, and returns its canonical form.
func ParseConfig(raw []byte) ([]byte, error) {
	canonical, replaced, err := document.Canonical(raw)
	if err = errors.Join(err, replaced); err != nil { // such as a name that is there twice
		return nil, err
	}
	var config *ocispec.ImageConfig
	if err := json.Unmarshal(canonical, &config); err != nil {
		return nil, err
	}
	if config == nil {
		return nil, errors.New("it is no JSON object")
	}
	return canonical, nil
}

// ErrNoKey says that a commit's metadata lack a key that is to be copied.
var ErrNoKey = errors.New("there is nothing to copy")

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
