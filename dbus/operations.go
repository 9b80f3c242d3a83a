package dbus

import (
	"slices"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// operationMethods are the methods of the Manager that change, write out or examine what is stored.
func (s *Server) operationMethods() map[string]handler {
	return map[string]handler{
		"Init":          s.initRepository,
		"Unencapsulate": s.unencapsulate,
		"Encapsulate":   s.encapsulate,
		"Export":        s.export,
		"Copy":          s.copyImage,
		"RemoveImages":  s.removeImages,
		"Prune":         s.prune,
		"Verify":        s.verify,
		"Compare":       s.compare,
		"CheckUpdate":   s.checkUpdate,
	}
}

// readJob reads the arguments of a method that answers with a job: those that the pointers are for,
// then the options.
func (c *call) readJob(options []option, arguments ...any) (o callOptions, err error) {
	o.names, err = c.read(append(o.options(), options...), arguments...)
	return o, err
}

// read is readJob for a method that takes only the given options.
func (c *call) read(options []option, arguments ...any) (names []string, err error) {
	var variants map[string]godbus.Variant
	if err := c.store(append(arguments, &variants)...); err != nil {
		return nil, err
	}
	return readOptions(c.member, options, variants, c.descriptors)
}

// operate begins an authorized operation and answers with its job.
func (s *Server) operate(c *call, o callOptions, p permission, begin func(daemon.Caller) (*daemon.Job, error)) ([]any, error) {
	caller, err := s.authorize(c, p, o.names)
	if err != nil {
		return nil, err
	}
	return s.answerWithJob(c, o.wait, func() (*daemon.Job, error) { return begin(caller) })
}

func (s *Server) initRepository(c *call) ([]any, error) {
	var r importer.InitRequest
	o, err := c.readJob(initOptions(&r))
	if err != nil {
		return nil, err
	}
	p := permission{action: actionInit, details: map[string]string{}, places: []place{{path: s.repository(), written: true}}}
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Init(r, o.job, caller)
	})
}

func (s *Server) unencapsulate(c *call) ([]any, error) {
	var r importer.UnencapsulateRequest
	o, err := c.readJob(unencapsulateOptions(&r), &r.Image)
	if err == nil {
		r.Image, err = cleanReference(r.Image)
	}
	if err != nil {
		return nil, err
	}
	p, err := fetching(actionImport, r.Image, r.Ref, r.Access.With(r.ImageFD))
	if err != nil {
		return nil, err
	}
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Unencapsulate(r, o.job, caller)
	})
}

func (s *Server) encapsulate(c *call) ([]any, error) {
	var r importer.EncapsulateRequest
	o, err := c.readJob(encapsulateOptions(&r), &r.Rev, &r.Destination)
	if err == nil {
		r.Destination, err = cleanDestination(r.Destination)
	}
	if err == nil && r.Prior != "" {
		r.Prior, err = cleanReference(r.Prior)
	}
	if err != nil {
		return nil, err
	}
	p := permission{action: actionExport, details: map[string]string{
		"image": r.Rev, "destination": r.Destination, "prior": printedImage(r.Prior),
	}}
	p.places = slices.Concat(destinationPlaces(r.Destination, r.DestinationFD), originPlaces(r.Prior, r.PriorFD), accessPlaces(r.Access))
	for _, path := range []string{r.ContainerConfig, r.ContentMap} {
		if path != "" {
			p.places = append(p.places, place{path: path})
		}
	}
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Encapsulate(r, o.job, caller)
	})
}

func (s *Server) export(c *call) ([]any, error) {
	var r importer.ExportRequest
	o, err := c.readJob(exportOptions(&r), &r.Image, &r.Destination)
	if err == nil {
		r.Destination, err = cleanDestination(r.Destination)
	}
	if err != nil {
		return nil, err
	}
	p := writing(r.Image, r.Destination, append(destinationPlaces(r.Destination, r.DestinationFD), accessPlaces(r.Access)...)...)
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Export(r, o.job, caller)
	})
}

func (s *Server) copyImage(c *call) ([]any, error) {
	var r importer.CopyRequest
	o, err := c.readJob(copyOptions(&r), &r.Image, &r.Repository)
	if err == nil && r.Target != "" {
		r.Target, err = cleanReference(r.Target)
	}
	if err != nil {
		return nil, err
	}
	if r.Repository, err = reference.CleanPath(r.Repository); err != nil {
		return nil, invalidOption("the destination: %w", err)
	}
	p := writing(r.Image, r.Repository, place{path: r.Repository, written: true})
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Copy(r, o.job, caller)
	})
}

func (s *Server) removeImages(c *call) ([]any, error) {
	var r importer.RemoveRequest
	o, err := c.readJob(removeOptions(&r), &r.Images)
	if err != nil {
		return nil, err
	}
	return s.remove(c, o, r)
}

func (s *Server) remove(c *call, o callOptions, r importer.RemoveRequest) ([]any, error) {
	return s.operate(c, o, onStored(actionRemove, r.Images), func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Remove(r, o.job, caller)
	})
}

func (s *Server) prune(c *call) ([]any, error) {
	var r importer.PruneRequest
	if scope, isText := c.args[0].(string); isText {
		r.Scope = importer.PruneScope(scope) // it decides which options there are
	}
	if r.Scope != importer.PruneLayers && r.Scope != importer.PruneImages {
		return nil, invalidOption("the scope %q: it has to be %q or %q", r.Scope, importer.PruneLayers, importer.PruneImages)
	}
	o, err := c.readJob(pruneOptions(&r), new(string))
	if err != nil {
		return nil, err
	}
	p := permission{action: actionPrune, details: map[string]string{"scope": string(r.Scope)}}
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Prune(r, o.job, caller)
	})
}

func (s *Server) verify(c *call) ([]any, error) {
	var r importer.VerifyRequest
	o, err := c.readJob(verifyOptions(&r), &r.Images)
	if err != nil {
		return nil, err
	}
	p := onStored(actionVerify, r.Images)
	switch {
	case r.Repair:
		p, err = onOrigin(actionImport, r.Images, r.Access)
	case !r.Access.IsZero():
		p.action = actionImportUntrusted
	}
	if err != nil {
		return nil, err
	}
	return s.operate(c, o, p, func(caller daemon.Caller) (*daemon.Job, error) {
		return s.manager.Verify(r, o.job, caller)
	})
}

// compare waits for the comparison: it is the answer itself.
func (s *Server) compare(c *call) ([]any, error) {
	var r importer.CompareRequest
	names, err := c.read(compareOptions(&r), &r.Image, &r.Other)
	if err != nil {
		return nil, err
	}
	permissions, err := s.comparing(&r)
	if err != nil {
		return nil, err
	}
	var caller daemon.Caller
	for _, p := range permissions {
		if caller, err = s.authorize(c, p, names); err != nil {
			return nil, err
		}
	}
	status, err := s.await(c, func() (*daemon.Job, error) { return s.manager.Compare(r, daemon.JobOptions{}, caller) })
	if err != nil {
		return nil, err
	}
	return describe(status.Results)
}

// comparing returns the permissions that a comparison takes: one to look at a stored image and its
// origin, and one like that of Prepare for each of two images that is not stored. It marks those in
// the request, so that no other origin is asked.
func (s *Server) comparing(r *importer.CompareRequest) ([]permission, error) {
	var all []permission
	for _, side := range []struct {
		image     *string
		notStored *bool
		access    importer.Access
	}{{&r.Image, &r.ImageNotStored, r.Access.With(r.ImageFD)}, {&r.Other, &r.OtherNotStored, r.Access}} {
		if r.Other == "" {
			break
		}
		isStored, err := s.manager.IsStored(*side.image)
		if err != nil {
			return nil, err
		}
		if isStored {
			continue
		}
		if *side.image, err = cleanReference(*side.image); err != nil {
			return nil, err
		}
		p, err := fetching(actionPrepare, *side.image, "", side.access)
		if err != nil {
			return nil, err
		}
		*side.notStored = true
		all = append(all, p)
	}
	if r.ImageNotStored {
		return all, nil
	}
	p, err := onOrigin(actionCheck, []string{r.Image}, r.Access.With(r.ImageFD))
	if err == nil && r.Other == "" {
		p.places = append(p.places, originPlaces(r.Image, r.ImageFD)...)
	}
	return append(all, p), err
}

func (s *Server) checkUpdate(c *call) ([]any, error) {
	var r importer.UpdateRequest
	names, err := c.read(updateOptions(&r), &r.Image)
	if err != nil {
		return nil, err
	}
	return s.answerWithUpdate(c, r, names)
}

func (s *Server) answerWithUpdate(c *call, r importer.UpdateRequest, names []string) ([]any, error) {
	p, err := s.checking(&r)
	if err != nil {
		return nil, err
	}
	caller, err := s.authorize(c, p, names)
	if err != nil {
		return nil, err
	}
	status, err := s.await(c, func() (*daemon.Job, error) { return s.manager.CheckUpdate(r, daemon.JobOptions{}, caller) })
	if err != nil {
		return nil, err
	}
	update, err := daemon.Results[importer.Update](status)
	if err != nil {
		return nil, err
	}
	return []any{update.Available, variants(updateProperties(update))}, nil
}

// checking is the permission to look for an update. The origin of a stored image was allowed when
// it was imported; to ask about another image takes what Prepare takes. Only with that permission
// the request says that the image need not be stored.
func (s *Server) checking(r *importer.UpdateRequest) (permission, error) {
	isStored, err := s.manager.IsStored(r.Image)
	if err != nil {
		return permission{}, err
	}
	asks := !r.Offline && !r.Forget
	if !isStored && asks {
		if r.Image, err = cleanReference(r.Image); err != nil {
			return permission{}, err
		}
		r.NotStored = true
		return fetching(actionPrepare, r.Image, "", r.Access)
	}
	p, err := onOrigin(actionCheck, []string{r.Image}, r.Access)
	if err == nil && asks {
		p.places = append(p.places, originPlaces(r.Image, nil)...)
	}
	return p, err
}

// updateProperties are what is known of an update; when there is none, of which image.
func updateProperties(u *importer.Update) properties {
	if !u.Available {
		return properties{"reference": busText(u.Reference), "stored": u.Stored}
	}
	return properties{
		"stored":          u.Stored,
		"reference":       busText(u.Reference),
		"manifest-digest": string(u.ManifestDigest),
		"version":         busText(u.Version),
		"created":         microseconds(u.Created),
		"layers-to-fetch": uint32(u.LayersToFetch),
		"bytes-to-fetch":  u.BytesToFetch,
	}
}
