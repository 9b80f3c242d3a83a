package dbus

import (
	"encoding/json"
	"fmt"

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
	return map[string]handler{
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
}

func (s *Server) managerProperties() properties {
	return properties{
		"Version":         s.version,
		"Features":        []string{"import", "prepare"},
		"Repository":      s.repository,
		"IdleTimeoutUSec": uint64(s.idleTimeout.Microseconds()),
		"NJobs":           uint32(s.manager.Active()),
	}
}

func (s *Server) prepare(c *call) ([]any, error) {
	options, err := s.readRequest(c, prepareOptions)
	if err != nil {
		return nil, err
	}
	caller, err := s.authorizeRequest(c, actionPrepare, options.request, options.names)
	if err != nil {
		return nil, err
	}
	// A plan is the answer itself, so that this call waits for it.
	job, err := s.startJob(c, true, func() (*daemon.Job, error) {
		return s.manager.Prepare(options.request, options.job, caller)
	})
	if err != nil {
		return nil, err
	}
	status, err := finished(c, job)
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
			prepared.ID, plan.Request.Image, preparedState(plan), string(plan.ManifestDigest),
			microseconds(prepared.Expires), preparedPath(prepared.ID),
		})
	}
	return []any{entries}, nil
}

func (s *Server) importImage(c *call) ([]any, error) {
	options, err := s.readRequest(c, importOptions)
	if err != nil {
		return nil, err
	}
	caller, err := s.authorizeRequest(c, actionImport, options.request, options.names)
	if err != nil {
		return nil, err
	}
	return s.answerWithJob(c, options.wait, func() (*daemon.Job, error) {
		return s.manager.Import(options.request, options.job, caller)
	})
}

// readRequest reads the arguments of Import and Prepare.
func (s *Server) readRequest(c *call, allowed []option) (callOptions, error) {
	var image string
	var variants map[string]godbus.Variant
	if err := c.store(&image, &variants); err != nil {
		return callOptions{}, err
	}
	options, err := readOptions(c.member, allowed, variants)
	options.request.Image = image
	return options, err
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
		if image.Reference != "" {
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
		ID       uint64
		Type     string
		Image    string
		State    string
		Progress float64
		Path     godbus.ObjectPath
	}
	entries := []entry{}
	for _, status := range s.manager.Jobs() {
		entries = append(entries, entry{
			status.ID, string(status.Type), status.Image, string(status.State), status.Fraction(), jobPath(status.ID),
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
	return describe(jobs)
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

// describe is the answer of the Describe methods.
func describe(value any) ([]any, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return nil, fmt.Errorf("describe: %w", err)
	}
	return []any{string(text)}, nil
}
