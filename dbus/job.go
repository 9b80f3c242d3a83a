package dbus

import (
	"maps"
	"slices"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

func (s *Server) jobMethods() map[string]handler {
	return map[string]handler{
		"Cancel":   func(c *call) ([]any, error) { return nil, s.cancel(c, c.object.job) },
		"Wait":     s.waitForJob,
		"Describe": func(c *call) ([]any, error) { return describeJob(c.object.job.Status()) },
	}
}

// describeJob leaves out results that are too large for the bus: how the job went can be asked for
// all the same.
func describeJob(status daemon.JobStatus) ([]any, error) {
	if len(status.Results) > maxDescription/2 {
		status.Results = nil
	}
	return describe(status)
}

func (s *Server) waitForJob(c *call) ([]any, error) {
	status, err := finished(c, c.object.job)
	if err != nil {
		return nil, err
	}
	return []any{string(status.Result), variants(jobResults(status))}, nil
}

// await starts or joins a job whose result is the answer itself, and waits for its end.
func (s *Server) await(c *call, begin func() (*daemon.Job, error)) (daemon.JobStatus, error) {
	job, err := s.startJob(c, true, begin)
	if err != nil {
		return daemon.JobStatus{}, err
	}
	return finished(c, job)
}

// finished waits for the end of a job. One that failed is an error.
func finished(c *call, job *daemon.Job) (daemon.JobStatus, error) {
	var status daemon.JobStatus
	err := c.outside(func() (err error) {
		status, err = job.Wait(c.ctx)
		return err
	})
	if err != nil {
		return status, err
	}
	return status, jobError(status)
}

// cancel withdraws the wish of a caller who has asked for the job. Who has not takes an
// authorization, and stops it for all.
func (s *Server) cancel(c *call, job *daemon.Job) error {
	who, err := s.identify(c)
	if err != nil {
		return err
	}
	if asked, err := job.Withdraw(who.UID); asked || err != nil {
		return err
	}
	if !who.privileged {
		if err := s.authorizeCancel(c, job.Status()); err != nil {
			return err
		}
	}
	return job.Cancel()
}

// answerWithJob starts a job and answers with its id, its path and its results: at once, or with
// wait after its end. Before its end there are no results.
func (s *Server) answerWithJob(c *call, wait bool, begin func() (*daemon.Job, error)) ([]any, error) {
	job, err := s.startJob(c, wait, begin)
	if err != nil {
		return nil, err
	}
	if wait {
		if _, err := finished(c, job); err != nil {
			return nil, err
		}
	}
	return []any{job.ID(), jobPath(job.ID()), variants(jobResults(job.Status()))}, nil
}

// startJob creates or joins a job. Where the answer names it, it is not started before that answer
// is written: nobody is to hear of it from a signal before.
func (s *Server) startJob(c *call, wait bool, begin func() (*daemon.Job, error)) (*daemon.Job, error) {
	job, err := begin()
	if err != nil {
		return nil, err
	}
	c.descriptors.hold()
	if wait {
		job.Start()
	} else {
		s.calls.after(c.key, job.Start)
	}
	return job, nil
}

func jobProperties(status daemon.JobStatus) properties {
	return properties{
		"Id":             status.ID,
		"Type":           string(status.Type),
		"Image":          busText(status.Image),
		"TransactionId":  busText(status.TransactionID),
		"CallerUID":      status.CallerUID,
		"CallerUnit":     busText(status.CallerUnit),
		"State":          string(status.State),
		"Cancellable":    status.Cancellable,
		"Progress":       status.Fraction(),
		"ProgressDetail": variants(progressDetail(status)),
		"StatusText":     busText(status.StatusText),
		"Result":         string(status.Result),
		"ErrorName":      errorName(status.ErrorKind),
		"ErrorMessage":   busText(status.ErrorMessage),
		"Results":        variants(jobResults(status)),
		"StartedUSec":    microseconds(status.Started),
		"FinishedUSec":   microseconds(status.Finished),
	}
}

// progressDetail has the keys of bootc's progress: a task with subtasks, bytes within steps.
func progressDetail(status daemon.JobStatus) properties {
	progress := &status.Progress
	subtasks := []map[string]godbus.Variant{}
	for _, layer := range progress.Running {
		subtasks = append(subtasks, variants(properties{
			"subtask":     "layer",
			"id":          string(layer.Digest),
			"bytes":       layer.Bytes,
			"bytes-total": layer.Size,
			"attempt":     uint32(layer.Attempt),
		}))
	}
	done, total := progressSteps(progress)
	return properties{
		"task":         string(progress.Stage),
		"description":  busText(status.StatusText),
		"bytes":        progress.Bytes,
		"bytes-cached": progress.BytesCached,
		"bytes-total":  progress.BytesTotal,
		"steps":        done,
		"steps-cached": uint64(progress.LayersCached),
		"steps-total":  total,
		"subtasks":     subtasks,
	}
}

// progressSteps are layers where layers are fetched, and elsewhere what the operation counts.
func progressSteps(p *importer.Progress) (done, total uint64) {
	if p.StepsTotal > 0 || p.LayersTotal == 0 {
		return p.Steps, p.StepsTotal
	}
	return uint64(p.LayersDone), uint64(p.LayersTotal)
}

// jobResults are what a job that is done has to show; nil for any other.
func jobResults(status daemon.JobStatus) properties {
	switch {
	case status.Import != nil:
		return importResults(status.Import)
	case status.PreparedID != 0:
		return properties{"prepared-id": status.PreparedID, "prepared": preparedPath(status.PreparedID)}
	}
	return operationResults(status)
}

func importResults(result *importer.Result) properties {
	fetched := slices.DeleteFunc(slices.Clone(result.Layers), func(layer importer.LayerResult) bool { return layer.Cached })
	base := ""
	if result.BaseCommit != nil {
		base = *result.BaseCommit
	}
	return properties{
		"commit":          result.Commit,
		"base-commit":     base,
		"verify-text":     busText(result.VerifyText),
		"image-ref":       result.ImageRef,
		"manifest-digest": string(result.ManifestDigest),
		"config-digest":   string(result.ConfigDigest),
		"already-present": result.AlreadyPresent,
		"changed":         result.Changed,
		"from":            versionEntries(result.From),
		"to":              versionEntries(&result.To),
		"layers-fetched":  uint32(len(fetched)),
		"bytes-fetched":   result.BytesFetched,
		"filtered":        filteredEntries(result),
	}
}

// versionEntries describes one of the images that a name stands for over time; nil has no entries.
func versionEntries(v *importer.ImageVersion) map[string]godbus.Variant {
	if v == nil {
		return map[string]godbus.Variant{}
	}
	return variants(properties{
		"version": busText(v.Version), "manifest-digest": string(v.ManifestDigest), "commit": v.Commit,
	})
}

// filteredEntries counts the entries that were left out, by their top-level directory. Of an image
// with more than maxListed of these only the first ones are told.
func filteredEntries(result *importer.Result) map[string]uint32 {
	all := make(map[string]uint32)
	for _, counts := range result.Filtered {
		for name, count := range counts {
			all[name] += count
		}
	}
	filtered := make(map[string]uint32)
	for _, name := range firstOf(slices.Sorted(maps.Keys(all))) {
		filtered[busText(name)] += all[name]
	}
	return filtered
}
