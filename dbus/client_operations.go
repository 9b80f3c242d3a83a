package dbus

import (
	"context"
	"encoding/json"
	"runtime"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// Init makes the daemon's repository.
func (c *Client) Init(ctx context.Context, r importer.InitRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Init", o, initOptions(&r))
}

// Unencapsulate starts (or joins) a job and returns its id. What it finds is in the status that
// Wait returns: see daemon.Results. The other methods that take daemon.JobOptions do the same.
func (c *Client) Unencapsulate(ctx context.Context, r importer.UnencapsulateRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Unencapsulate", o, unencapsulateOptions(&r), r.Image)
}

// Encapsulate makes an image of a commit. A path in the destination has to be absolute, here and in
// the following methods.
func (c *Client) Encapsulate(ctx context.Context, r importer.EncapsulateRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Encapsulate", o, encapsulateOptions(&r), r.Rev, r.Destination)
}

// Export writes a stored image out.
func (c *Client) Export(ctx context.Context, r importer.ExportRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Export", o, exportOptions(&r), r.Image, r.Destination)
}

// Copy copies a stored image to another repository.
func (c *Client) Copy(ctx context.Context, r importer.CopyRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Copy", o, copyOptions(&r), r.Image, r.Repository)
}

// Remove drops stored images.
func (c *Client) Remove(ctx context.Context, r importer.RemoveRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "RemoveImages", o, removeOptions(&r), r.Images)
}

// Prune drops what nothing needs.
func (c *Client) Prune(ctx context.Context, r importer.PruneRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Prune", o, pruneOptions(&r), string(r.Scope))
}

// Verify checks stored images.
func (c *Client) Verify(ctx context.Context, r importer.VerifyRequest, o daemon.JobOptions) (uint64, error) {
	return c.operate(ctx, "Verify", o, verifyOptions(&r), r.Images)
}

// Compare waits for the difference of two images.
func (c *Client) Compare(ctx context.Context, r importer.CompareRequest) (*importer.Comparison, error) {
	defer runtime.KeepAlive(&r)
	dict, err := writeOptions(compareOptions(&r))
	if err != nil {
		return nil, err
	}
	var text string
	// As with Prepare it is the daemon that watches over the time.
	if err := c.call(ctx, 0, rootPath, managerInterface+".Compare", r.Image, r.Other, dict).Store(&text); err != nil {
		return nil, fromCallError(err)
	}
	var comparison importer.Comparison
	if err := json.Unmarshal([]byte(text), &comparison); err != nil {
		return nil, unreadable("Compare", err)
	}
	return &comparison, nil
}

// CheckUpdate waits for what the image's origin says.
func (c *Client) CheckUpdate(ctx context.Context, r importer.UpdateRequest) (*importer.Update, error) {
	defer runtime.KeepAlive(&r)
	dict, err := writeOptions(updateOptions(&r))
	if err != nil {
		return nil, err
	}
	var available bool
	var info map[string]godbus.Variant
	err = c.call(ctx, 0, rootPath, managerInterface+".CheckUpdate", r.Image, dict).Store(&available, &info)
	if err != nil {
		return nil, fromCallError(err)
	}
	update := readUpdate(info)
	update.Available = available
	return update, nil
}

// readUpdate is the inverse of updateProperties.
func readUpdate(info map[string]godbus.Variant) *importer.Update {
	text := func(name string) string { value, _ := info[name].Value().(string); return value }
	number := func(name string) uint64 { value, _ := info[name].Value().(uint64); return value }
	layers, _ := info["layers-to-fetch"].Value().(uint32)
	isStored, _ := info["stored"].Value().(bool)
	update := &importer.Update{
		Stored:         isStored,
		Reference:      text("reference"),
		ManifestDigest: digest.Digest(text("manifest-digest")),
		Version:        text("version"),
		LayersToFetch:  int(layers),
		BytesToFetch:   number("bytes-to-fetch"),
	}
	if created := number("created"); created > 0 {
		update.Created = time.UnixMicro(int64(created)).UTC()
	}
	return update
}

// operate calls a method that answers with a job: it takes the arguments, and then the options.
func (c *Client) operate(ctx context.Context, method string, o daemon.JobOptions, options []option, arguments ...any) (uint64, error) {
	dict, err := writeOptions(append(jobOptions(&o), options...))
	if err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(options) // and with them the files whose descriptors are sent
	return c.startJob(ctx, rootPath, managerInterface+"."+method, append(arguments, dict)...)
}
