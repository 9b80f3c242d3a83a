package dbus

import (
	"encoding/json"
	"fmt"
	"maps"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// The states of a Prepared.
const (
	stateReady          = "ready"
	stateAlreadyPresent = "already-present"
)

func (s *Server) managerMethods() map[string]handler {
	methods := map[string]handler{
		"Prepare":        s.prepare,
		"ListPrepared":   s.listPrepared,
		"Import":         s.importImage,
		"ListImages":     s.listImages,
		"GetImage":       s.getImage,
		"DescribeImages": s.describeImages,
		"ListJobs":       s.listJobs,
		"GetJob":         s.getJob,
		"DescribeJobs":   s.describeJobs,
		"CancelJob":      s.cancelJob,
	}
	maps.Copy(methods, s.operationMethods())
	return methods
}

// features are words for what a daemon of this version can do.
var features = []string{
	"init", "import", "prepare", "unencapsulate", "encapsulate", "export", "copy", "remove", "prune", "verify", "compare", "check-update",
}

func (s *Server) managerProperties() properties {
	return properties{
		"Version":         s.version,
		"Features":        features,
		"Repository":      s.repository(),
		"IdleTimeoutUSec": uint64(s.idleTimeout.Microseconds()),
		"NJobs":           uint32(s.manager.ActiveWithoutLookups()),
	}
}

func (s *Server) prepare(c *call) ([]any, error) {
	var r importer.Request
	var o daemon.JobOptions
	names, err := c.read(append(jobOptions(&o), importOptions(&r)...), &r.Image)
	if err == nil {
		err = cleanRequest(&r)
	}
	if err != nil {
		return nil, err
	}
	caller, err := s.authorizeRequest(c, actionPrepare, r, names)
	if err != nil {
		return nil, err
	}
	status, err := s.await(c, func() (*daemon.Job, error) { return s.manager.Prepare(r, o, caller) })
	if err != nil {
		return nil, err
	}
	prepared, err := s.manager.Prepared(status.PreparedID)
	if err != nil {
		return nil, err
	}
	plan := &prepared.Plan
	return []any{
		preparedPath(prepared.ID), preparedState(plan), string(plan.ManifestDigest),
		uint32(plan.LayersToFetch), plan.BytesToFetch,
	}, nil
}

func (s *Server) listPrepared(*call) ([]any, error) {
	type entry struct {
		ID      uint64
		Image   string
		State   string
		Digest  string
		Expires uint64
		Path    godbus.ObjectPath
	}
	entries := []entry{}
	for _, prepared := range s.manager.ListPrepared() {
		plan := &prepared.Plan
		entries = append(entries, entry{
			prepared.ID, busText(plan.Request.Image), preparedState(plan),
			string(plan.ManifestDigest), microseconds(prepared.Expires), preparedPath(prepared.ID),
		})
	}
	return []any{entries}, nil
}

func (s *Server) importImage(c *call) ([]any, error) {
	var r importer.Request
	o, err := c.readJob(importOptions(&r), &r.Image)
	if err == nil {
		err = cleanRequest(&r)
	}
	if err != nil {
		return nil, err
	}
	caller, err := s.authorizeRequest(c, actionImport, r, o.names)
	if err != nil {
		return nil, err
	}
	return s.answerWithJob(c, o.wait, func() (*daemon.Job, error) { return s.manager.Import(r, o.job, caller) })
}

// authorizeRequest is authorize for a request to fetch an image.
func (s *Server) authorizeRequest(c *call, action string, r importer.Request, options []string) (daemon.Caller, error) {
	p, err := fetching(action, r.Image, printedImage(r.Target), r.Access.With(r.ImageFD))
	if err != nil {
		return daemon.Caller{}, err
	}
	if r.ReuseForeign { // nobody has verified what it takes
		p.action = actionImportUntrusted
	}
	return s.authorize(c, p, options)
}

func (s *Server) listImages(c *call) ([]any, error) {
	images, err := s.manager.Images(c.ctx)
	if err != nil {
		return nil, err
	}
	type entry struct {
		Name    string
		Digest  string
		Commit  string
		Version string
		Created uint64
		Path    godbus.ObjectPath
	}
	entries := []entry{}
	for i := range images {
		image := &images[i]
		path := godbus.ObjectPath("/")
		if isImageName(image.Reference) {
			path = imagePath(image.Reference)
		}
		entries = append(entries, entry{
			imageName(image), string(image.ManifestDigest), image.Commit, busText(image.Version),
			microseconds(image.Created), path,
		})
	}
	return []any{entries}, nil
}

func (s *Server) getImage(c *call) ([]any, error) {
	var name string
	if err := c.store(&name); err != nil {
		return nil, err
	}
	image, err := s.manager.Image(c.ctx, name)
	if err != nil {
		return nil, err
	}
	return []any{imagePath(image.Reference)}, nil
}

func (s *Server) describeImages(c *call) ([]any, error) {
	images, err := s.manager.Images(c.ctx)
	if err != nil {
		return nil, err
	}
	if images == nil {
		images = []importer.Image{}
	}
	return describe(images)
}

func (s *Server) listJobs(*call) ([]any, error) {
	type entry struct {
		ID           uint64
		Type         string
		Image        string
		State        string
		Progress     float64
		Result       string
		ErrorName    string
		ErrorMessage string
		Path         godbus.ObjectPath
	}
	entries := []entry{}
	for _, status := range s.manager.Jobs() {
		entries = append(entries, entry{
			status.ID, string(status.Type), busText(status.Image), string(status.State), status.Fraction(),
			string(status.Result), errorName(status.ErrorKind), busText(status.ErrorMessage), jobPath(status.ID),
		})
	}
	return []any{entries}, nil
}

func (s *Server) getJob(c *call) ([]any, error) {
	var id uint64
	if err := c.store(&id); err != nil {
		return nil, err
	}
	if _, err := s.manager.Job(id); err != nil {
		return nil, err
	}
	return []any{jobPath(id)}, nil
}

func (s *Server) describeJobs(*call) ([]any, error) {
	jobs := s.manager.Jobs()
	if jobs == nil {
		jobs = []daemon.JobStatus{}
	}
	listed := make([]json.RawMessage, len(jobs))
	for i, status := range jobs {
		var err error
		if listed[i], err = describeInList(status); err != nil {
			return nil, err
		}
	}
	return describe(listed)
}

// describeInList leaves out results, which Job.Describe tells: those of all jobs together could be
// too much for one message.
func describeInList(status daemon.JobStatus) (json.RawMessage, error) {
	status.Results = nil
	text, err := json.Marshal(status)
	if err == nil && len(text) > maxJobDescription && status.Import != nil {
		status.Import = nil
		text, err = json.Marshal(status)
	}
	if err != nil {
		return nil, fmt.Errorf("describe job %d: %w", status.ID, err)
	}
	return text, nil
}

func (s *Server) cancelJob(c *call) ([]any, error) {
	var id uint64
	if err := c.store(&id); err != nil {
		return nil, err
	}
	job, err := s.manager.Job(id)
	if err != nil {
		return nil, err
	}
	return nil, s.cancel(c, job)
}

// describe is the answer of the methods that answer with JSON.
func describe(value any) ([]any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	if len(text) > maxDescription {
		return nil, &importer.Error{
			Kind: importer.KindFailed,
			Err:  fmt.Errorf("the answer of %d bytes is too large for the bus", len(text)),
			Hint: "ask for less, or use ostree-importctl --local",
		}
	}
	return []any{string(text)}, nil
}
