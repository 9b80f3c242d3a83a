package dbus

import (
	"context"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// object is what a path names, at the moment of one call. Of job, prepared and image the one of its
// interface is set.
type object struct {
	// interfaces are all that the object has, the standard ones included.
	interfaces []string
	properties map[string]properties
	job        *daemon.Job
	prepared   daemon.Prepared
	image      *importer.Image
}

// properties are the values of all properties of one interface.
type properties map[string]any

// newObject makes an object with the standard interfaces and, unless name is "", one more with
// these properties.
func newObject(name string, values properties) *object {
	o := &object{interfaces: []string{peerInterface, introspectableInterface, propertiesInterface}}
	if name != "" {
		o.interfaces = append(o.interfaces, name)
		o.properties = map[string]properties{name: values}
	}
	return o
}

// resolve finds the object at path.
func (s *Server) resolve(ctx context.Context, path godbus.ObjectPath) (*object, error) {
	switch path {
	case rootPath:
		o := newObject(managerInterface, s.managerProperties())
		o.interfaces = append(o.interfaces, objectManagerInterface)
		return o, nil
	case logControlPath:
		return newObject(logControlInterface, s.logControlProperties()), nil
	}
	if isAncestor(path) {
		return newObject("", nil), nil
	}
	unknown := standardError(errUnknownObject, "there is no object %s", path)
	slash := strings.LastIndexByte(string(path), '/')
	element := string(path[slash+1:])
	switch path[:slash] {
	case jobsPath:
		id, valid := parseID(element)
		if job, err := s.manager.Job(id); valid && err == nil {
			o := newObject(jobInterface, jobProperties(job.Status()))
			o.job = job
			return o, nil
		}
	case preparedsPath:
		id, valid := parseID(element)
		prepared, err := s.manager.Prepared(id)
		if valid && err == nil {
			o := newObject(preparedInterface, preparedProperties(prepared))
			o.prepared = prepared
			return o, nil
		}
		if valid && importer.KindOf(err) == importer.KindPreparedExpired {
			return nil, err
		}
	case imagesPath:
		name, valid := unescapeLabel(element)
		if !valid {
			return nil, unknown
		}
		image, err := s.manager.Image(ctx, name)
		if kind := importer.KindOf(err); kind == importer.KindNoSuchImage || kind == importer.KindInvalidReference {
			return nil, unknown
		}
		if err != nil {
			return nil, err
		}
		if image.Reference != name {
			return nil, unknown
		}
		o := newObject(imageInterface, imageProperties(image))
		o.image = image
		return o, nil
	}
	return nil, unknown
}

// isAncestor tells whether path is one that only leads to other objects.
func isAncestor(path godbus.ObjectPath) bool {
	return len(staticChildren(path)) > 0 || path == jobsPath || path == preparedsPath || path == imagesPath
}

// staticChildren are the elements below path that are always there.
func staticChildren(path godbus.ObjectPath) []string {
	prefix := strings.TrimSuffix(string(path), "/") + "/"
	var children []string
	for _, fixed := range []godbus.ObjectPath{jobsPath, preparedsPath, imagesPath, logControlPath} {
		if rest, below := strings.CutPrefix(string(fixed), prefix); below {
			child, _, _ := strings.Cut(rest, "/")
			children = append(children, child)
		}
	}
	slices.Sort(children)
	return slices.Compact(children)
}

// children are the elements below path. While there is no repository there are no images.
func (s *Server) children(ctx context.Context, path godbus.ObjectPath) []string {
	children := staticChildren(path)
	add := func(child godbus.ObjectPath) { children = append(children, string(child[len(path)+1:])) }
	switch path {
	case jobsPath:
		for _, status := range s.manager.Jobs() {
			add(jobPath(status.ID))
		}
	case preparedsPath:
		for _, prepared := range s.manager.ListPrepared() {
			add(preparedPath(prepared.ID))
		}
	case imagesPath:
		images, _ := s.manager.Images(ctx)
		for i := range images {
			if isImageName(images[i].Reference) {
				add(imagePath(images[i].Reference))
			}
		}
	}
	return children
}
