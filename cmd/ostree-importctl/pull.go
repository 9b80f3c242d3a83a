package main

import (
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ostree-importd/ostree-importd/importer"
)

func pullCommand(s *settings) *cobra.Command {
	var options requestOptions
	cmd := &cobra.Command{
		Use:   "pull IMGREF",
		Short: "Import an image and print its commit",
		Long: `Import an image and print the commit that holds it.

Layers that are present are not fetched again: a repeated pull does nothing,
and an interrupted one goes on with what is missing. Over the bus, the first
Ctrl-C cancels the job; a second one leaves it to the daemon.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := options.request(args[0])
			if err != nil {
				return err
			}
			return s.with(cmd.Context(), func(b backend) error {
				display := newDisplay(os.Stderr, s.quiet)
				result, err := b.Pull(cmd.Context(), request, display.update)
				display.close()
				if err != nil {
					return err
				}
				if s.json {
					return printJSON(cmd.OutOrStdout(), result)
				}
				if !s.quiet {
					fmt.Fprintln(os.Stderr, summary(result))
				}
				if result.Commit != "" {
					fmt.Fprintln(cmd.OutOrStdout(), result.Commit)
				}
				return nil
			})
		},
	}
	options.register(cmd.Flags())
	return cmd
}

func summary(result *importer.Result) string {
	if result.AlreadyPresent {
		return fmt.Sprintf("%s is present, manifest %s", result.Reference, result.ManifestDigest)
	}
	cached := 0
	for _, layer := range result.Layers {
		if layer.Cached {
			cached++
		}
	}
	text := fmt.Sprintf("imported %s: %s, %d of them cached, %s fetched, manifest %s",
		result.Reference, count(len(result.Layers), "layer", "layers"), cached, size(result.BytesFetched), result.ManifestDigest)
	if dropped := droppedText(result.Filtered); dropped != "" {
		text += "\nleft out: " + dropped
	}
	return text
}

// requestOptions are the options of pull and prepare that say what to fetch,
// from where and with which credentials.
type requestOptions struct {
	target, digest                     string
	noRef, dropSpecialFiles, anonymous bool
	tlsVerify                          bool
	authfile, certDir                  string
	decryptionKeys                     []string
	jobs                               int
}

func (o *requestOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.target, "target", "", "record the image under this `IMGREF` instead")
	flags.BoolVar(&o.noRef, "no-ref", false, "keep the layers, but write no image")
	flags.StringVar(&o.digest, "digest", "", "refuse the image unless its manifest has this `digest`")
	flags.StringVar(&o.authfile, "authfile", "", "`path` of the registry credentials")
	flags.BoolVar(&o.anonymous, "anonymous", false, "use no credentials")
	flags.StringVar(&o.certDir, "cert-dir", "", "`directory` with CA certificates (*.crt) and a client's *.cert and *.key")
	flags.BoolVar(&o.tlsVerify, "tls-verify", true, "verify the registry's certificate; =false also permits plain HTTP")
	flags.StringArrayVar(&o.decryptionKeys, "decryption-key", nil, "`key` file for encrypted layers, where the proxy supports it (repeatable)")
	flags.IntVar(&o.jobs, "jobs", 0, "fetch this `number` of layers at once (default: the program's choice)")
	flags.BoolVar(&o.dropSpecialFiles, "drop-special-files", false, "leave out device nodes, fifos and sockets instead of refusing the image")
}

func (o *requestOptions) request(image string) (importer.Request, error) {
	var pinned digest.Digest
	if o.digest != "" {
		var err error
		if pinned, err = digest.Parse(o.digest); err != nil {
			return importer.Request{}, usageError{fmt.Errorf("--digest=%s: %w; it is written sha256:<64 hex digits>", o.digest, err)}
		}
	}
	if o.jobs < 0 {
		return importer.Request{}, usageError{fmt.Errorf("--jobs=%d: it is at least 1", o.jobs)}
	}
	access := importer.Access{
		Anonymous:     o.anonymous,
		SkipTLSVerify: !o.tlsVerify,
	}
	var err error
	for _, key := range o.decryptionKeys {
		if key, err = absolute(key); err != nil {
			return importer.Request{}, err
		}
		access.DecryptionKeys = append(access.DecryptionKeys, key)
	}
	if access.AuthFile, err = absolute(o.authfile); err != nil {
		return importer.Request{}, err
	}
	if access.CertDir, err = absolute(o.certDir); err != nil {
		return importer.Request{}, err
	}
	if image, err = absoluteImage(image); err != nil {
		return importer.Request{}, err
	}
	target, err := absoluteImage(o.target)
	if err != nil {
		return importer.Request{}, err
	}
	return importer.Request{
		Image: image, Target: target, NoRef: o.noRef, Digest: pinned,
		Jobs: o.jobs, DropSpecialFiles: o.dropSpecialFiles, Access: access,
	}, nil
}
