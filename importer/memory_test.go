package importer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// wideImage makes an image of n layers that need windows of 128 MiB.
func wideImage(t *testing.T, n int) *testImage {
	t.Helper()
	zstd := needs.Tool(t, "zstd")
	image := newImage(t)
	var diffIDs []any
	for i := range n {
		raw := archive(t, fmt.Sprintf("f usr/file%d %d", i, i), fmt.Sprintf("f usr/common %d", i))
		cmd := exec.Command(zstd, "-c", "--long=27")
		cmd.Stdin = bytes.NewReader(raw)
		blob, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		image.addLayer(blob)
		diffIDs = append(diffIDs, digest.FromBytes(raw).String())
	}
	image.config["rootfs"] = map[string]any{"type": "layers", "diff_ids": diffIDs}
	return image.seal(t)
}

// TestLayersShareMemory: layers that do not fit together wait for each other, and the commit is the
// same.
func TestLayersShareMemory(t *testing.T) {
	image := wideImage(t, 6)
	var commits []string
	for _, size := range []int64{150 << 20, 300 << 20, 2 << 30} {
		h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
		h.im.memory = budget.New(size)
		commits = append(commits, h.mustPull(Request{Image: testName, Jobs: 6}).Commit)
		h.checkClean(h.refs())
		checkReturned(t, h, size)
	}
	if commits[0] != commits[1] || commits[0] != commits[2] {
		t.Errorf("commits %v", commits)
	}
}

// checkReturned wants the whole budget to be free.
func checkReturned(t *testing.T, h *testHost, size int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := h.im.memory.Run(ctx, size, func(*budget.Share) error { return nil }); err != nil {
		t.Errorf("memory was not given back: %v", err)
	}
}

// TestLayerThatNeverFits: what needs more than all memory is refused, with the numbers.
func TestLayerThatNeverFits(t *testing.T) {
	var files []string
	for i := range 10_000 {
		files = append(files, fmt.Sprintf("f usr/%d/%s", i, strings.Repeat("x", 200)))
	}
	for name, test := range map[string]struct {
		image *testImage
		size  int64
		want  []string
	}{
		"window": {wideImage(t, 2), 100 << 20, []string{"layer 1/2", "at least 1", "the 100 MiB", "--memory"}},
		"tree":   {newImage(t, files), 16 << 20, []string{"layer 1/1", `entry "usr/`, "at least 17 MiB", "the 16 MiB", "--memory"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, test.image))
			h.im.memory = budget.New(test.size)
			_, err := h.pull(Request{Image: testName, Jobs: 1})
			for _, want := range test.want {
				if KindOf(err) != KindUnsupportedImage || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %q", err, want)
				}
			}
			h.checkClean("[]")
			checkReturned(t, h, test.size)
		})
	}
}

// TestCancelWhileWaiting: an import that waits for memory can be canceled.
func TestCancelWhileWaiting(t *testing.T) {
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, wideImage(t, 1)))
	h.im.memory = budget.New(150 << 20)
	ctx, cancel := context.WithCancel(t.Context())
	h.registry.fault = func(_ context.Context, _ digest.Digest, nth int, blob io.ReadCloser) (io.ReadCloser, error) {
		if nth > 1 {
			t.Error("the layer was fetched although others have the memory")
		}
		cancel()
		return blob, nil
	}
	err := h.im.memory.Run(t.Context(), 100<<20, func(*budget.Share) error {
		p, err := h.im.Prepare(ctx, Request{Image: testName})
		if err != nil {
			return err
		}
		_, err = p.Import(ctx, nil)
		return errors.Join(err, p.Close())
	})
	if KindOf(err) != KindCanceled {
		t.Errorf("error %v", err)
	}
	checkReturned(t, h, 150<<20)
}
