package importer

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// rising wants of each sample what Progress promises, and keeps the last one.
type rising struct {
	t     *testing.T
	calls int
	last  Progress
}

func (r *rising) sample(p Progress) {
	r.t.Helper()
	if r.calls++; r.calls > 1 && p.Fraction < r.last.Fraction {
		r.t.Errorf("the progress falls from %+v to %+v", r.last, p)
	}
	if p.Fraction >= 1 || p.Fraction < 0 && p.Fraction != -1 {
		r.t.Errorf("the progress is %+v", p)
	}
	r.last = p
}

// TestOperationsAdvance: no operation goes back, and none says that all is done while it runs.
func TestOperationsAdvance(t *testing.T) {
	image := twoLayers(t)
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	other := filepath.Join(t.TempDir(), "repo")
	_, err := ostreerepo.Create(t.Context(), other, ostreerepo.ModeArchive, ostreerepo.Options{})
	h.must(err)
	for _, operation := range []struct {
		name string
		do   func(progress func(Progress)) error
		end  float64 // what it tells at its end at least; a small one may tell nothing
	}{
		{"import", func(progress func(Progress)) error {
			p, err := h.im.Prepare(t.Context(), Request{Image: testName})
			h.must(err)
			defer p.discard()
			_, err = p.Import(t.Context(), progress)
			return err
		}, maxFraction},
		{"export", func(progress func(Progress)) error {
			_, err := h.im.Export(t.Context(), ExportRequest{Image: testName, Destination: "tar:" + t.TempDir() + "/x"}, progress)
			return err
		}, maxFraction},
		{"export of layers", func(progress func(Progress)) error {
			_, err := h.im.Export(t.Context(), ExportRequest{Image: testName, Destination: "oci:" + t.TempDir() + "/x"}, progress)
			return err
		}, maxFraction},
		{"encapsulate", func(progress func(Progress)) error {
			_, err := h.im.Encapsulate(t.Context(), EncapsulateRequest{Rev: testRef, Destination: "oci:" + t.TempDir() + "/x"}, progress)
			return err
		}, maxFraction},
		{"copy", func(progress func(Progress)) error {
			_, err := h.im.Copy(t.Context(), CopyRequest{Image: testName, Repository: other}, progress)
			return err
		}, -1},
		{"verify", func(progress func(Progress)) error {
			_, err := h.im.Verify(t.Context(), VerifyRequest{}, progress)
			return err
		}, -1},
		{"repair", func(progress func(Progress)) error {
			h.ostree("refs", "--delete", image.ref(t, 0))
			_, err := h.im.Verify(t.Context(), VerifyRequest{Repair: true}, progress)
			return err
		}, checkedPart},
		{"remove", func(progress func(Progress)) error {
			_, err := h.im.Remove(t.Context(), RemoveRequest{Images: []string{testName}}, progress)
			return err
		}, 0},
		{"prune", func(progress func(Progress)) error {
			_, err := h.im.Prune(t.Context(), PruneRequest{Scope: PruneLayers}, progress)
			return err
		}, -1},
	} {
		t.Run(operation.name, func(t *testing.T) {
			r := &rising{t: t, last: Progress{Fraction: -1}}
			if err := operation.do(r.sample); err != nil {
				t.Fatal(err)
			}
			if r.last.Fraction < operation.end {
				t.Errorf("the last of %d samples is %+v, want %v", r.calls, r.last, operation.end)
			}
		})
	}
}

// TestReporterKeepsWhatWasRead: neither a new attempt nor a layer that is given up takes back what
// was told.
func TestReporterKeepsWhatWasRead(t *testing.T) {
	plan := &Plan{Layers: []LayerPlan{{Digest: "sha256:1", Size: 40 << 20}, {Digest: "sha256:2", Size: 60 << 20}}}
	plan.count()
	r := newReporter(plan, nil)
	defer r.close()
	steadily := &rising{t: t}
	told := steady(steadily.sample)
	want := func(bytes uint64, low, high float64) {
		t.Helper()
		p := r.sample()
		told(p)
		if p.Bytes != bytes || steadily.last.Fraction < low || steadily.last.Fraction > high {
			t.Errorf("%d bytes and %v, want %d and %v to %v", p.Bytes, steadily.last.Fraction, bytes, low, high)
		}
	}
	want(0, 0, 0)
	one, two := r.begin(1, plan.Layers[0]), r.begin(2, plan.Layers[1])
	one.start(1)
	two.start(1)
	one.bytes.Store(30 << 20)
	two.bytes.Store(10 << 20)
	want(40<<20, 0.2, 0.3)
	one.start(2)
	want(40<<20, 0.2, 0.3)
	one.bytes.Store(50 << 20) // more than was announced
	want(50<<20, 0.3, 0.4)
	one.done = true
	r.end(one)
	want(50<<20, 0.3, 0.5) // the layer has landed
	two.bytes.Store(60 << 20)
	want(100<<20, 0.6, 0.8) // all bytes are here, and much remains to be done
	r.end(two)              // canceled
	want(100<<20, 0.6, 0.8)
	r.enter(StageMerge)
	want(100<<20, 0.6, 0.8)
	r.enter(StageCollect)
	want(100<<20, maxFraction, maxFraction)
}

// TestCanceledImportKeepsItsProgress: the last samples of an import that is canceled are no smaller
// than those before.
func TestCanceledImportKeepsItsProgress(t *testing.T) {
	image := newImage(t, []string{"f usr/a " + incompressible(200_000)}, []string{"f usr/b 1"})
	h := newHost(t, ostreerepo.ModeBareUser, newRegistry(testName, image))
	p, err := h.im.Prepare(t.Context(), Request{Image: testName})
	h.must(err)
	defer p.discard()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := &rising{t: t}
	_, err = p.Import(ctx, func(p Progress) {
		r.sample(p)
		if p.Stage == StageMerge {
			cancel()
		}
	})
	if KindOf(err) != KindCanceled || r.last.Bytes != r.last.BytesTotal || r.last.Fraction < 0.3 {
		t.Errorf("%v, and at last %+v", err, r.last)
	}
}
