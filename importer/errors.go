package importer

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

// Kind is the class of a failure. The names are the suffixes of the D-Bus errors
// org.ostree.import1.Error.*.
type Kind string

// The kinds of failures that the importer and the daemon's job management report.
const (
	KindInvalidReference     Kind = "InvalidReference"     // the reference can't be understood or recorded
	KindInvalidOption        Kind = "InvalidOption"        // an option has a value that makes no sense
	KindReferenceNotFound    Kind = "ReferenceNotFound"    // the source has no such image
	KindRegistryUnauthorized Kind = "RegistryUnauthorized" // the registry wants other credentials
	KindNetwork              Kind = "Network"              // the source can't be reached or broke off
	KindTimeout              Kind = "Timeout"              // nothing came for too long
	KindSignatureRejected    Kind = "SignatureRejected"    // the signature policy says no
	KindDigestMismatch       Kind = "DigestMismatch"       // content is not what its digest, size or diff ID says
	KindManifestMismatch     Kind = "ManifestMismatch"     // the image is not the one that was asked for by digest
	KindManifestGone         Kind = "ManifestGone"         // the source no longer has what was prepared
	KindUnsupportedImage     Kind = "UnsupportedImage"     // the image can't be imported as it is
	KindNotEncapsulated      Kind = "NotEncapsulated"      // the image holds no OSTree commit, or more than that
	KindNotBootable          Kind = "NotBootable"          // the image is not one that a host boots from
	KindWrongArchitecture    Kind = "WrongArchitecture"    // the image is for another architecture
	KindOffline              Kind = "Offline"              // it would need the network, which was ruled out
	KindImageInUse           Kind = "ImageInUse"           // a deployment uses the image
	KindNoSuchImage          Kind = "NoSuchImage"          // no stored image of that name
	KindNoSpace              Kind = "NoSpace"              // the repository's file system is full
	KindReadOnly             Kind = "ReadOnly"             // the repository's file system is read-only
	KindRepository           Kind = "Repository"           // the repository can't do it
	KindCorrupted            Kind = "Corrupted"            // a stored object is damaged or missing
	KindToolFailed           Kind = "ToolFailed"           // a program that is needed is missing or failed
	KindNotAvailable         Kind = "NotAvailable"         // something of the host is missing: a repository, /var/tmp, descriptors
	KindCanceled             Kind = "Canceled"             // the caller canceled
	KindInterrupted          Kind = "Interrupted"          // the daemon stopped before the job was done
	KindAccessDenied         Kind = "AccessDenied"         // the caller may not do this
	KindLimitsExceeded       Kind = "LimitsExceeded"       // the request is larger than any that is taken, or one too many
	KindNoSuchJob            Kind = "NoSuchJob"
	KindNoSuchPrepared       Kind = "NoSuchPrepared"
	KindPreparedExpired      Kind = "PreparedExpired"
	KindBusy                 Kind = "Busy"
	KindTooManyJobs          Kind = "TooManyJobs"
	KindNotCancellable       Kind = "NotCancellable"
	KindFailed               Kind = "Failed" // anything else
)

// Stage is the step of the work at which something happens.
type Stage string

// The stages, in the order in which an import passes them.
const (
	StageReference Stage = "reference"
	StageWait      Stage = "wait" // for others who work on the repository
	StageOpen      Stage = "open"
	StageManifest  Stage = "manifest"
	StageConfig    Stage = "config"
	StagePlan      Stage = "plan"
	StageFetch     Stage = "fetch"
	StageVerify    Stage = "verify"
	StageLayer     Stage = "layer"
	StageMerge     Stage = "merge"
	StageLand      Stage = "land"
	StageInventory Stage = "inventory"
)

// The stages of other operations.
const (
	StageInit        Stage = "init"
	StageSignature   Stage = "signature"
	StageCollect     Stage = "collect"
	StageCopy        Stage = "copy"
	StageCheck       Stage = "check"
	StageRepair      Stage = "repair"
	StageEncapsulate Stage = "encapsulate"
	StageExport      Stage = "export"
	StagePush        Stage = "push"
)

// Error is every failure of this package. Sources return it too, with Kind, Retryable and Hint set
// and the rest empty.
type Error struct {
	Kind       Kind
	Stage      Stage
	Layer      digest.Digest // the layer's blob digest, or ""
	LayerIndex int           // counted from 1; 0 when no layer is concerned
	LayerCount int
	Entry      string // the archive entry, already quoted and capped, or ""
	Hint       string // what a person can do about it, or ""
	Retryable  bool   // the same request may succeed later
	Err        error
}

// Error says stage, layer, entry, cause and hint, leaving out what is not known.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Stage != "" {
		fmt.Fprintf(&b, "%s: ", e.Stage)
	}
	if e.LayerIndex > 0 {
		fmt.Fprintf(&b, "layer %d/%d", e.LayerIndex, e.LayerCount)
		if e.Layer != "" {
			fmt.Fprintf(&b, " %s", shortDigest(e.Layer))
		}
		b.WriteString(": ")
	}
	if e.Entry != "" {
		fmt.Fprintf(&b, "entry %s: ", e.Entry)
	}
	if e.Err != nil {
		b.WriteString(e.Err.Error())
	} else {
		b.WriteString(string(e.Kind))
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "; %s", e.Hint)
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// KindOf is the kind of the first *Error in err's chain, KindFailed for any other error and "" for
// nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Kind != "" {
		return e.Kind
	}
	return KindFailed
}

// shortDigest keeps the algorithm and the first twelve characters, enough to find a layer by.
func shortDigest(d digest.Digest) string {
	algorithm, encoded, _ := strings.Cut(string(d), ":")
	return algorithm + ":" + encoded[:min(12, len(encoded))]
}
