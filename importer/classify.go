package importer

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/blob"
	"github.com/ostree-importd/ostree-importd/importer/budget"
	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/merge"
	"github.com/ostree-importd/ostree-importd/importer/ostreetar"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// class is what a sentinel of another package means here.
type class struct {
	sentinels []error
	kind      Kind
	hint      string
}

// classes is searched in order: the first sentinel in an error's chain decides.
var classes = []class{
	{[]error{context.Canceled}, KindCanceled, ""},
	{[]error{context.DeadlineExceeded}, KindTimeout, ""},
	{[]error{signature.ErrRefused}, KindSignatureRejected, ""},
	{[]error{ostreerepo.ErrNoSpace}, KindNoSpace, "free space there and run it again: layers that are finished stay"},
	{[]error{ostreerepo.ErrReadOnly}, KindReadOnly, "make its file system writable; on an OSTree host the daemon does so for itself, with a private mount of /sysroot"},
	{[]error{ostreerepo.ErrToolMissing}, KindToolFailed, ""},
	{[]error{ostreerepo.ErrNotRepository}, KindNotAvailable, ""},
	{[]error{unix.EMFILE, unix.ENFILE}, KindNotAvailable, "raise the limit of open files: LimitNOFILE= of the unit, or `ulimit -n`"},
	{[]error{ostreerepo.ErrCorrupted}, KindCorrupted, ""},
	{[]error{ostreerepo.ErrNoObject, ostreerepo.ErrNoRef}, KindCorrupted, "run `ostree fsck --delete` on the repository and import again: what is missing is fetched anew"},
	{[]error{ostreerepo.ErrNotKept}, KindRepository, "a repository of mode bare-user or archive keeps it"},
	{[]error{budget.ErrLimit}, KindUnsupportedImage, "give it more with --memory: of ostree-importd, or of ostree-importctl with --local"},
	{[]error{layertar.ErrUnsupportedEntry}, KindUnsupportedImage, "--drop-special-files leaves devices, fifos and sockets out"},
	{[]error{layertar.ErrDigest, layertar.ErrSize, layertar.ErrDiffID, layertar.ErrTruncated, ostreerepo.ErrMismatch}, KindDigestMismatch, ""},
	{[]error{layertar.ErrCompression, layertar.ErrArchive, blob.ErrMemory, ostreetar.ErrNoCommit, selinux.ErrUnusable, ostreerepo.ErrInvalid}, KindUnsupportedImage, ""},
}

// classify makes err an *Error of the stage: its kind comes from the *Error, sentinel or type in
// its chain.
func classify(stage Stage, err error) *Error {
	e := &Error{Stage: stage, Err: err}
	var known *Error
	if errors.As(err, &known) {
		*e = *known
		if e.Stage == "" {
			e.Stage = stage
		}
		if e.Err == nil {
			e.Err = errors.New(string(e.Kind))
		}
		return e
	}
	var layer *merge.LayerError
	if errors.As(err, &layer) {
		e.LayerIndex, e.Err = layer.Index, layer.Err
	}
	var entry *layertar.EntryError
	if errors.As(err, &entry) {
		e.Kind, e.Entry, e.Err = KindUnsupportedImage, entry.Entry, entry.Err
	}
	for _, c := range classes {
		if slices.ContainsFunc(c.sentinels, func(s error) bool { return errors.Is(err, s) }) {
			e.Kind, e.Hint = c.kind, c.hint
			return e
		}
	}
	var failed *command.Error
	switch {
	case e.Kind != "":
	case errors.As(err, &failed):
		e.Kind = KindToolFailed
	case stage == StageLand || stage == StageMerge || stage == StageInventory:
		e.Kind = KindRepository
	default:
		e.Kind = KindFailed
	}
	return e
}

// stopped turns err into the cancellation or time-out of ctx when that has ended: whatever the work
// reported then is only how it noticed.
func stopped(ctx context.Context, stage Stage, err error) error {
	if err != nil && ctx.Err() != nil {
		return classify(stage, context.Cause(ctx))
	}
	return err
}
