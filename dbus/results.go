package dbus

import (
	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// operationResults are the results of a job other than an import or a prepare: what a script asks
// for. Job.Describe has all.
func operationResults(status daemon.JobStatus) properties {
	switch status.Type {
	case daemon.JobInit:
		return resultsOf(status, initResults)
	case daemon.JobUnencapsulate:
		return resultsOf(status, unencapsulateResults)
	case daemon.JobEncapsulate:
		return resultsOf(status, encapsulateResults)
	case daemon.JobExport:
		return resultsOf(status, exportResults)
	case daemon.JobCopy:
		return resultsOf(status, copyResults)
	case daemon.JobRemove:
		return resultsOf(status, removeResults)
	case daemon.JobPrune:
		return resultsOf(status, pruneResults)
	case daemon.JobVerify:
		return resultsOf(status, verifyResults)
	}
	return nil
}

// resultsOf is nil for a job that isn't done, and for a record that can't be read.
func resultsOf[T any](status daemon.JobStatus, show func(*T) properties) properties {
	results, err := daemon.Results[T](status)
	if err != nil {
		return nil
	}
	return show(results)
}

func initResults(r *importer.InitResult) properties {
	return properties{"repository": busText(r.Repository), "mode": r.Mode, "created": r.Created}
}

func unencapsulateResults(r *importer.UnencapsulateResult) properties {
	return properties{
		"commit":          r.Commit,
		"manifest-digest": string(r.ManifestDigest),
		"ref":             busText(r.Ref),
		"version":         busText(r.Version),
		"verify-text":     busText(r.VerifyText),
		"layers-fetched":  uint32(r.LayersFetched),
		"bytes-fetched":   r.BytesFetched,
	}
}

func encapsulateResults(r *importer.EncapsulateResult) properties {
	return properties{
		"destination":     busText(r.Destination),
		"commit":          r.Commit,
		"manifest-digest": string(r.ManifestDigest),
		"config-digest":   string(r.ConfigDigest),
		"layers":          uint32(len(r.Layers)),
		"chunking":        r.Chunking,
		"note":            busText(r.Note),
	}
}

func exportResults(r *importer.ExportResult) properties {
	return properties{
		"destination":     busText(r.Destination),
		"commit":          r.Commit,
		"manifest-digest": string(r.ManifestDigest),
		"config-file":     busText(r.ConfigFile),
		"size":            r.Size,
		"cached":          r.Cached,
	}
}

func copyResults(r *importer.CopyResult) properties {
	return properties{
		"commit":          r.Commit,
		"image-ref":       busText(r.ImageRef),
		"repository":      busText(r.Repository),
		"manifest-digest": string(r.ManifestDigest),
		"layers":          uint32(r.Layers),
	}
}

func removeResults(r *importer.RemoveResult) properties {
	results := properties{"removed": busTexts(r.Removed), "missing": busTexts(r.Missing)}
	if r.Collected != nil {
		results["layers"] = uint32(r.Collected.Layers)
		results["objects"] = uint32(r.Collected.Objects)
		results["bytes"] = r.Collected.Bytes
	}
	return results
}

func pruneResults(r *importer.PruneResult) properties {
	return properties{
		"dry-run": r.DryRun,
		"images":  uint32(r.Images),
		"layers":  uint32(r.Layers),
		"objects": uint32(r.Objects),
		"bytes":   r.Bytes,
	}
}

func verifyResults(r *importer.VerifyResult) properties {
	in := func(state string) []string {
		references := []string{}
		for i := range r.Images {
			if r.Images[i].State == state {
				references = append(references, busText(r.Images[i].Reference))
			}
		}
		return references
	}
	return properties{
		"images":         uint32(len(r.Images)),
		"damaged":        firstOf(in(importer.StateDamaged)),
		"unchecked":      firstOf(in(importer.StateUnchecked)),
		"unverified":     firstOf(in(importer.StateUnverified)),
		"repaired":       uint32(r.Count(importer.StateRepaired)),
		"objects":        r.Objects,
		"bytes":          r.Bytes,
		"layers-fetched": uint32(r.LayersFetched),
		"bytes-fetched":  r.BytesFetched,
	}
}

// firstOf gives no more than the first maxListed texts.
func firstOf(texts []string) []string { return texts[:min(len(texts), maxListed)] }

// busTexts is busText for the first maxListed texts.
func busTexts(texts []string) []string {
	safe := make([]string, 0, min(len(texts), maxListed))
	for _, text := range firstOf(texts) {
		safe = append(safe, busText(text))
	}
	return safe
}
