package dbus

import (
	"slices"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

func (s *Server) preparedMethods() map[string]handler {
	return map[string]handler{
		"Import":   s.importPrepared,
		"Discard":  s.discardPrepared,
		"Describe": s.describePrepared,
	}
}

func (s *Server) importPrepared(c *call) ([]any, error) {
	o, err := c.readJob(nil)
	if err != nil {
		return nil, err
	}
	prepared := &c.object.prepared
	caller, err := s.authorizePlan(c, actionImport, prepared.Plan.Request, o.names)
	if err != nil {
		return nil, err
	}
	return s.answerWithJob(c, o.wait, func() (*daemon.Job, error) {
		return s.manager.ImportPrepared(prepared.ID, o.job, caller)
	})
}

func (s *Server) discardPrepared(c *call) ([]any, error) {
	if _, err := s.authorizePlan(c, actionPrepare, c.object.prepared.Plan.Request, nil); err != nil {
		return nil, err
	}
	return nil, s.manager.Discard(c.object.prepared.ID)
}

// authorizePlan is authorizeRequest for a request that perhaps somebody else has made. Rules see
// its options as if the caller gave them, together with those of the call.
func (s *Server) authorizePlan(c *call, action string, r importer.Request, options []string) (daemon.Caller, error) {
	all := append(givenNames(importOptions(&r)), options...)
	slices.Sort(all)
	return s.authorizeRequest(c, action, r, slices.Compact(all))
}

// describePrepared leaves out how the image is reached: everybody may ask, and that can name
// secrets.
func (s *Server) describePrepared(c *call) ([]any, error) {
	prepared := c.object.prepared
	prepared.Plan.Request.Access = importer.Access{}
	return describe(prepared)
}

func preparedState(plan *importer.Plan) string {
	if plan.AlreadyPresent {
		return stateAlreadyPresent
	}
	return stateReady
}

func preparedProperties(prepared daemon.Prepared) properties {
	plan := &prepared.Plan
	type layer struct {
		Digest    string
		Size      uint64
		Kind      string
		MediaType string
		Present   bool
		CreatedBy string
	}
	layers := []layer{}
	for _, l := range plan.Layers {
		layers = append(layers, layer{string(l.Digest), l.Size, l.Kind, busText(l.MediaType), l.Cached, busText(l.CreatedBy)})
	}
	return properties{
		"Id":                     prepared.ID,
		"Image":                  busText(plan.Request.Image),
		"State":                  preparedState(plan),
		"ManifestDigest":         string(plan.ManifestDigest),
		"ConfigDigest":           string(plan.ConfigDigest),
		"ImageVersion":           busText(plan.Version),
		"Layers":                 layers,
		"LayersToFetch":          uint32(plan.LayersToFetch),
		"BytesToFetch":           plan.BytesToFetch,
		"BytesTotal":             plan.BytesTotal,
		"Commit":                 plan.Commit,
		"PreviousManifestDigest": string(plan.PreviousDigest),
		"ExpiresUSec":            microseconds(prepared.Expires),
	}
}
