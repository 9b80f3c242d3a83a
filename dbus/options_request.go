package dbus

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

const maxLayerJobs = 64

// The options of each request have the names that its fields have in JSON. What a method takes as
// an argument is not among them.

func initOptions(r *importer.InitRequest) []option {
	return []option{textOption("mode", &r.Mode)}
}

func importOptions(r *importer.Request) []option {
	return append(accessOptions(&r.Access), []option{
		digestOption(&r.Digest),
		textOption("target-image", &r.Target),
		{name: "no-imgref", value: &r.NoRef},
		layerJobsOption(&r.Jobs),
		{name: "drop-special-files", value: &r.DropSpecialFiles},
		{name: "offline", value: &r.Offline},
		{name: "require-bootable", value: &r.RequireBootable},
		{name: "reuse-foreign-layers", value: &r.ReuseForeign},
		{name: "require-verified", value: &r.RequireVerified},
		textOption("arch", &r.Architecture),
		{name: "skip-gc", value: &r.SkipGC},
		{name: "image-fd", value: &r.ImageFD},
	}...)
}

func unencapsulateOptions(r *importer.UnencapsulateRequest) []option {
	return append(accessOptions(&r.Access), digestOption(&r.Digest), layerJobsOption(&r.Jobs), textOption("write-ref", &r.Ref),
		option{name: "skip-gc", value: &r.SkipGC}, option{name: "image-fd", value: &r.ImageFD})
}

func encapsulateOptions(r *importer.EncapsulateRequest) []option {
	return append(accessOptions(&r.Access), []option{
		{name: "labels", value: &r.Labels, check: func() error {
			if _, exists := r.Labels[""]; exists {
				return errors.New("a label has no name")
			}
			return nil
		}},
		{name: "cmd", value: &r.Cmd},
		textOption("arch", &r.Architecture),
		{name: "max-layers", value: &r.MaxLayers, check: func() error {
			if r.MaxLayers < 1 {
				return errors.New("it has to be at least 1")
			}
			return nil
		}},
		{name: "single-layer", value: &r.SingleLayer},
		textOption("compression", &r.Compression),
		levelOption(&r.CompressionLevel),
		keysOption("copy-metadata", &r.Copy),
		keysOption("copy-metadata-optional", &r.CopyOptional),
		textOption("created", &r.Created),
		pathOption("container-config", &r.ContainerConfig),
		pathOption("content-map", &r.ContentMap),
		textOption("prior", &r.Prior),
		{name: "destination-fd", value: &r.DestinationFD},
		{name: "prior-fd", value: &r.PriorFD, check: func() error {
			if r.Prior == "" {
				return errors.New(`it needs "prior", the name of what it is`)
			}
			return nil
		}},
	}...)
}

func exportOptions(r *importer.ExportRequest) []option {
	return append(accessOptions(&r.Access), textOption("compression", &r.Compression), levelOption(&r.CompressionLevel),
		option{name: "destination-fd", value: &r.DestinationFD})
}

func copyOptions(r *importer.CopyRequest) []option {
	return []option{textOption("target-image", &r.Target)}
}

func removeOptions(r *importer.RemoveRequest) []option {
	return []option{{name: "force", value: &r.Force}, {name: "skip-gc", value: &r.SkipGC}}
}

func pruneOptions(r *importer.PruneRequest) []option {
	imagesOnly := func() error {
		if r.Scope != importer.PruneImages {
			return fmt.Errorf("it says what images are kept: it needs the scope %q", importer.PruneImages)
		}
		return nil
	}
	return []option{
		{name: "dry-run", value: &r.DryRun},
		{name: "keep-last", value: &r.KeepLast, check: imagesOnly},
		{name: "quota", value: &r.Quota, check: imagesOnly},
	}
}

func verifyOptions(r *importer.VerifyRequest) []option {
	return append(accessOptions(&r.Access), option{name: "repair", value: &r.Repair}, layerJobsOption(&r.Jobs))
}

func compareOptions(r *importer.CompareRequest) []option {
	return append(accessOptions(&r.Access), option{name: "files", value: &r.Files}, option{name: "image-fd", value: &r.ImageFD})
}

func updateOptions(r *importer.UpdateRequest) []option {
	return append(accessOptions(&r.Access), option{name: "offline", value: &r.Offline}, option{name: "forget", value: &r.Forget})
}

func accessOptions(a *importer.Access) []option {
	return []option{
		pathOption("authfile", &a.AuthFile),
		{name: "auth-anonymous", value: &a.Anonymous, check: func() error {
			if a.Anonymous && a.AuthFile != "" {
				return errors.New(`it and "authfile" exclude each other`)
			}
			return nil
		}},
		pathOption("cert-dir", &a.CertDir),
		{name: "insecure-skip-tls-verification", value: &a.SkipTLSVerify},
		{name: "decryption-keys", value: &a.DecryptionKeys, check: func() error {
			for _, key := range a.DecryptionKeys {
				if key == "" {
					return errors.New("one of the keys is empty")
				}
				if path, _, isFile := importer.KeyFile(key); isFile && !filepath.IsAbs(path) {
					return errors.New("one of the keys is not at an absolute path")
				}
			}
			return nil
		}},
		{name: "authfile-fd", value: &a.AuthFD, check: func() error {
			if a.Anonymous {
				return errors.New(`it and "auth-anonymous" exclude each other`)
			}
			return nil
		}},
		{name: "decryption-key-fds", value: &a.KeyFDs, check: func() error {
			files := 0
			for _, key := range a.DecryptionKeys {
				if _, _, isFile := importer.KeyFile(key); isFile {
					files++
				}
			}
			if files != len(a.KeyFDs) {
				return fmt.Errorf(`%d descriptors for the %d files in "decryption-keys"`, len(a.KeyFDs), files)
			}
			return nil
		}},
	}
}

// levelOption is how much layers are compressed. Which levels there are depends on the method.
func levelOption(level *int) option {
	return option{name: "compression-level", value: level, check: func() error {
		if *level < 1 {
			return errors.New("it has to be at least 1")
		}
		return nil
	}}
}

// keysOption is a list of names.
func keysOption(name string, keys *[]string) option {
	return option{name: name, value: keys, check: func() error {
		if slices.Contains(*keys, "") {
			return errors.New("one of the names is empty")
		}
		return nil
	}}
}

// textOption is one that has to have a text.
func textOption(name string, text *string) option {
	return option{name: name, value: text, check: func() error {
		if *text == "" {
			return errors.New("it is empty")
		}
		return nil
	}}
}

// pathOption is one that has to be an absolute path.
func pathOption(name string, path *string) option {
	return option{name: name, value: path, path: true, check: func() error { return checkAbsolute(*path) }}
}

func digestOption(d *digest.Digest) option {
	return option{name: "require-manifest-digest", value: d, check: func() error {
		if err := d.Validate(); err != nil {
			return fmt.Errorf("%q is not a digest such as sha256: and 64 hexadecimal digits: %w", *d, err)
		}
		return nil
	}}
}

// layerJobsOption is how many layers are fetched at once.
func layerJobsOption(jobs *int) option {
	return option{name: "jobs", value: jobs, check: func() error {
		if *jobs < 1 || *jobs > maxLayerJobs {
			return fmt.Errorf("it has to be between 1 and %d", maxLayerJobs)
		}
		return nil
	}}
}

func checkAbsolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	return nil
}
