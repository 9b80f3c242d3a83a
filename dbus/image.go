package dbus

import "github.com/ostree-importd/ostree-importd/importer"

func (s *Server) imageMethods() map[string]handler {
	return map[string]handler{
		"Describe": func(c *call) ([]any, error) { return describe(c.object.image) },
	}
}

// imageName is the image's name, or its ref where that is none that can be read back.
func imageName(image *importer.Image) string {
	if image.Reference == "" {
		return busText(image.ImageRef)
	}
	return busText(image.Reference)
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
		"ImageVersion":   busText(image.Version),
		"CreatedUSec":    microseconds(image.Created),
		"Size":           image.Size,
		"Layers":         layers,
	}
}
