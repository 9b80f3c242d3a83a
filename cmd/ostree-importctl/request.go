package main

import (
	"fmt"

	"github.com/opencontainers/go-digest"
	"github.com/spf13/pflag"

	"github.com/ostree-importd/ostree-importd/importer"
)

// requestOptions are the options of pull and prepare.
type requestOptions struct {
	accessOptions
	fetchOptions
	target, arch            string
	noRef, dropSpecialFiles bool
	offline, bootable       bool
	skipGC, verified        bool
	foreign                 bool
}

func (o *requestOptions) register(flags *pflag.FlagSet) {
	o.accessOptions.register(flags)
	o.fetchOptions.register(flags)
	flags.StringVar(&o.target, "target", "", "record the image under this `IMGREF` instead")
	flags.BoolVar(&o.noRef, "no-ref", false, "keep the layers, but write no image")
	flags.BoolVar(&o.dropSpecialFiles, "drop-special-files", false, "leave out device nodes, fifos and sockets instead of refusing the image")
	flags.BoolVar(&o.offline, "offline", false, "use the network for nothing: the image has to be stored, and named by its digest")
	flags.BoolVar(&o.bootable, "require-bootable", false, "refuse an image that this host could not boot")
	flags.StringVar(&o.arch, "arch", "", "refuse an image for another `architecture` than this, as OCI names it")
	flags.BoolVar(&o.foreign, "reuse-foreign-layers", false, "take layers as another program has stored them, which nobody has verified")
	flags.BoolVar(&o.verified, "require-verified", false, "fetch again what another program has stored of the image")
	flags.BoolVar(&o.skipGC, "skip-gc", false, "keep layers that no image needs any more")
}

func (o *requestOptions) request(image string) (request importer.Request, err error) {
	request = importer.Request{
		NoRef: o.noRef, DropSpecialFiles: o.dropSpecialFiles,
		Offline: o.offline, RequireBootable: o.bootable, Architecture: o.arch, SkipGC: o.skipGC,
		ReuseForeign: o.foreign, RequireVerified: o.verified,
	}
	if request.Digest, request.Jobs, err = o.fetch(); err != nil {
		return request, err
	}
	if request.Access, err = o.access(); err != nil {
		return request, err
	}
	if request.Image, err = absoluteImage(image); err != nil {
		return request, err
	}
	request.Target, err = absoluteImage(o.target)
	return request, err
}

// fetchOptions are those of all verbs that fetch an image's layers.
type fetchOptions struct {
	digest string
	jobs   int
}

func (o *fetchOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.digest, "digest", "", "refuse the image unless its manifest has this `digest`")
	registerJobs(flags, &o.jobs)
}

func (o *fetchOptions) fetch() (pinned digest.Digest, jobs int, err error) {
	if o.digest != "" {
		if pinned, err = digest.Parse(o.digest); err != nil {
			return "", 0, usageError{fmt.Errorf("--digest=%s: %w; it is written sha256:<64 hex digits>", o.digest, err)}
		}
	}
	return pinned, o.jobs, checkJobs(o.jobs)
}

func registerJobs(flags *pflag.FlagSet, jobs *int) {
	flags.IntVar(jobs, "jobs", 0, "fetch this `number` of layers at once (default: the program's choice)")
}

func checkJobs(jobs int) error {
	if jobs < 0 {
		return usageError{fmt.Errorf("--jobs=%d: it is at least 1", jobs)}
	}
	return nil
}
