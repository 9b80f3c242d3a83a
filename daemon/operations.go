package daemon

import (
	"context"
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Unencapsulate starts importer.Importer.Unencapsulate. This and the following methods are as
// Import: no error comes from here but the kinds of refusals, the caller must call Start on the
// job, and equal requests share one. What the operation found is in JobStatus.Results.
func (m *Manager) Unencapsulate(req importer.UnencapsulateRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, unencapsulate, req, opts, caller)
}

// Encapsulate starts importer.Importer.Encapsulate.
func (m *Manager) Encapsulate(req importer.EncapsulateRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, encapsulate, req, opts, caller)
}

// Export starts importer.Importer.Export.
func (m *Manager) Export(req importer.ExportRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, export, req, opts, caller)
}

// Copy starts importer.Importer.Copy.
func (m *Manager) Copy(req importer.CopyRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, copyImage, req, opts, caller)
}

// Remove starts importer.Importer.Remove.
func (m *Manager) Remove(req importer.RemoveRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, remove, req, opts, caller)
}

// Prune starts importer.Importer.Prune.
func (m *Manager) Prune(req importer.PruneRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, prune, req, opts, caller)
}

// Verify starts importer.Importer.Verify. That images are damaged is a result, not an error.
func (m *Manager) Verify(req importer.VerifyRequest, opts JobOptions, caller Caller) (*Job, error) {
	if len(req.Images) == 0 {
		// Empty and nil are the same request.
		req.Images = nil
	}
	return start(m, verify, req, opts, caller)
}

// Compare starts importer.Importer.Compare. The job is not retained: its results are for those who
// hold a handle on it.
func (m *Manager) Compare(req importer.CompareRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, compare, req, opts, caller)
}

// CheckUpdate starts importer.Importer.CheckUpdate. The job is not retained.
func (m *Manager) CheckUpdate(req importer.UpdateRequest, opts JobOptions, caller Caller) (*Job, error) {
	return start(m, checkUpdate, req, opts, caller)
}

var unencapsulate = operation[importer.UnencapsulateRequest, importer.UnencapsulateResult]{
	typ:     JobUnencapsulate,
	stage:   importer.StageOpen,
	lane:    always[importer.UnencapsulateRequest](laneImport),
	writes:  func(r importer.UnencapsulateRequest) string { return r.Ref },
	subject: func(r importer.UnencapsulateRequest) string { return r.Image },
	do:      (*importer.Importer).Unencapsulate,
	text:    func(r *importer.UnencapsulateResult) string { return "unencapsulated as commit " + r.Commit },
}

var encapsulate = operation[importer.EncapsulateRequest, importer.EncapsulateResult]{
	typ:     JobEncapsulate,
	stage:   importer.StageEncapsulate,
	lane:    always[importer.EncapsulateRequest](laneRead),
	subject: func(r importer.EncapsulateRequest) string { return r.Rev },
	do:      (*importer.Importer).Encapsulate,
	text:    func(r *importer.EncapsulateResult) string { return "encapsulated as " + r.Destination },
}

var export = operation[importer.ExportRequest, importer.ExportResult]{
	typ:     JobExport,
	stage:   importer.StageExport,
	lane:    always[importer.ExportRequest](laneRead),
	subject: func(r importer.ExportRequest) string { return r.Image },
	do:      (*importer.Importer).Export,
	text: func(r *importer.ExportResult) string {
		if r.Cached {
			return "already in " + r.Destination
		}
		return "exported to " + r.Destination
	},
}

var copyImage = operation[importer.CopyRequest, importer.CopyResult]{
	typ:     JobCopy,
	stage:   importer.StageCopy,
	lane:    always[importer.CopyRequest](laneWrite),
	subject: func(r importer.CopyRequest) string { return r.Image },
	do:      (*importer.Importer).Copy,
	text:    func(r *importer.CopyResult) string { return "copied to " + r.Repository },
}

var remove = operation[importer.RemoveRequest, importer.RemoveResult]{
	typ:     JobRemove,
	stage:   importer.StageCollect,
	lane:    always[importer.RemoveRequest](laneWrite),
	subject: func(r importer.RemoveRequest) string { return subjectOf(r.Images) },
	do:      (*importer.Importer).Remove,
	text:    func(r *importer.RemoveResult) string { return "removed " + count(len(r.Removed), "image") },
}

var prune = operation[importer.PruneRequest, importer.PruneResult]{
	typ:     JobPrune,
	stage:   importer.StageCollect,
	lane:    always[importer.PruneRequest](laneWrite),
	subject: func(r importer.PruneRequest) string { return string(r.Scope) },
	do:      (*importer.Importer).Prune,
	text: func(r *importer.PruneResult) string {
		verb := "dropped"
		if r.DryRun {
			verb = "would drop"
		}
		return fmt.Sprintf("%s %s, %s and %s", verb, count(r.Images, "image"), count(r.Layers, "layer"), count(r.Objects, "object"))
	},
}

var verify = operation[importer.VerifyRequest, importer.VerifyResult]{
	typ:   JobVerify,
	stage: importer.StageCheck,
	lane: func(r importer.VerifyRequest) lane {
		if r.Repair {
			return laneWrite
		}
		return laneRead
	},
	subject: func(r importer.VerifyRequest) string {
		if len(r.Images) == 0 {
			return "all images"
		}
		return subjectOf(r.Images)
	},
	do: (*importer.Importer).Verify,
	text: func(r *importer.VerifyResult) string {
		damaged, repaired := r.Count(importer.StateDamaged), r.Count(importer.StateRepaired)
		text := fmt.Sprintf("checked %s: %d damaged, %d repaired", count(len(r.Images), "image"), damaged, repaired)
		if unchecked := r.Count(importer.StateUnchecked); unchecked > 0 {
			text += fmt.Sprintf(", %d could not be read", unchecked)
		}
		if unverified := r.Count(importer.StateUnverified); unverified > 0 {
			text += fmt.Sprintf(", %d not verified whole", unverified)
		}
		return text
	},
	repaired: repairedImages,
}

// repairedImages are those that a repair has mended, or may have.
func repairedImages(req importer.VerifyRequest, r *importer.VerifyResult) (mended repaired) {
	if r == nil {
		return repaired{all: req.Repair}
	}
	for i := range r.Images {
		if r.Images[i].State == importer.StateRepaired {
			mended.names = append(mended.names, r.Images[i].Reference)
		}
	}
	return mended
}

var compare = operation[importer.CompareRequest, importer.Comparison]{
	typ:       JobCompare,
	stage:     importer.StageOpen,
	transient: true,
	lane:      always[importer.CompareRequest](laneLookup),
	subject:   func(r importer.CompareRequest) string { return r.Image },
	do: func(im *importer.Importer, ctx context.Context, r importer.CompareRequest, _ func(importer.Progress)) (*importer.Comparison, error) {
		return im.Compare(ctx, r)
	},
	text: func(r *importer.Comparison) string {
		return fmt.Sprintf("%s added, %d removed, %d kept", count(len(r.Added), "layer"), len(r.Removed), len(r.Kept))
	},
}

var checkUpdate = operation[importer.UpdateRequest, importer.Update]{
	typ:       JobCheckUpdate,
	stage:     importer.StageOpen,
	transient: true,
	lane:      always[importer.UpdateRequest](laneLookup),
	subject:   func(r importer.UpdateRequest) string { return r.Image },
	do: func(im *importer.Importer, ctx context.Context, r importer.UpdateRequest, _ func(importer.Progress)) (*importer.Update, error) {
		return im.CheckUpdate(ctx, r)
	},
	text: func(r *importer.Update) string {
		if r.Available {
			return "an update is available"
		}
		return "up to date"
	},
}

// subjectOf names some images in one line.
func subjectOf(images []string) string {
	switch len(images) {
	case 0:
		return "no images"
	case 1:
		return images[0]
	}
	return fmt.Sprintf("%s and %d more", images[0], len(images)-1)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
