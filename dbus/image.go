package dbus

import "github.com/ostree-importd/ostree-importd/importer"

func (s *Server) imageMethods() map[string]handler {
	return map[string]handler{
		"Describe":    func(c *call) ([]any, error) { return describe(c.object.image) },
		"CheckUpdate": s.checkImageUpdate,
		"Remove":      s.removeImage,
	}
}

func (s *Server) checkImageUpdate(c *call) ([]any, error) {
	r := importer.UpdateRequest{Image: c.object.image.Reference}
	names, err := c.read(updateOptions(&r))
	if err != nil {
		return nil, err
	}
	return s.answerWithUpdate(c, r, names)
}

func (s *Server) removeImage(c *call) ([]any, error) {
	r := importer.RemoveRequest{Images: []string{c.object.image.Reference}}
	o, err := c.readJob(removeOptions(&r))
	if err != nil {
		return nil, err
	}
	return s.remove(c, o, r)
}

// imageName is the image's name, or its ref where that is none that can be read back.
func imageName(image *importer.Image) string {
	if image.Reference == "" {
		return busText(image.ImageRef)
	}
	return busText(image.Reference)
}

// cachedUpdate is what is known of an update without asking; nil for none.
func cachedUpdate(update *importer.Update) properties {
	if update == nil || !update.Available {
		return nil
	}
	return updateProperties(update)
}

func imageProperties(image *importer.Image) properties {
	type layer struct {
		Digest string
		Size   uint64
		Kind   string
		Commit string
	}
	layers := []layer{}
	for _, l := range image.Layers {
		layers = append(layers, layer{string(l.Digest), l.Size, l.Kind, l.Commit})
	}
	return properties{
		"Name":           imageName(image),
		"ManifestDigest": string(image.ManifestDigest),
		"ConfigDigest":   string(image.ConfigDigest),
		"Commit":         image.Commit,
		"BaseCommit":     image.BaseCommit,
		"ImageVersion":   busText(image.Version),
		"CreatedUSec":    microseconds(image.Created),
		"Size":           image.Size,
		"SizeUnique":     image.SizeUnique,
		"CachedUpdate":   variants(cachedUpdate(image.Update)),
		"Layers":         layers,
	}
}
