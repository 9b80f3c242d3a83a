package dbus

import (
	"strings"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// The standard ObjectManager of rootPath has the jobs that signals tell of, and the images. Plans
// are not among them: they matter to whoever made them.

const (
	interfacesAdded   = objectManagerInterface + ".InterfacesAdded"
	interfacesRemoved = objectManagerInterface + ".InterfacesRemoved"
)

// managedInterfaces are the properties of an object by interface, as the ObjectManager tells them.
type managedInterfaces map[string]map[string]godbus.Variant

// managedObjects answers GetManagedObjects. While there is no repository there are no images.
func (s *Server) managedObjects(c *call) ([]any, error) {
	objects := make(map[godbus.ObjectPath]managedInterfaces)
	for _, status := range s.manager.Jobs() {
		if !status.Type.IsLookup() {
			objects[jobPath(status.ID)] = managedInterfaces{jobInterface: variants(jobProperties(status))}
		}
	}
	images, err := s.manager.Images(c.ctx)
	if err != nil && importer.KindOf(err) != importer.KindNotAvailable {
		return nil, err
	}
	for name, shown := range imagesByName(images) {
		objects[imagePath(name)] = managedInterfaces{imageInterface: variants(shown)}
	}
	return []any{objects}, nil
}

// imagesByName are the properties of all images that have an object.
func imagesByName(images []importer.Image) map[string]properties {
	shown := make(map[string]properties, len(images))
	for i := range images {
		if isImageName(images[i].Reference) {
			shown[images[i].Reference] = imageProperties(&images[i])
		}
	}
	return shown
}

// isImageName reports whether a listed name is an image's, so that it has an object, and not a ref
// that cannot be read as one.
func isImageName(name string) bool {
	return name != "" && !strings.HasPrefix(name, reference.ImagePrefix+"/")
}

// announceImages tells which images are new, have changed or are gone. One that has gone again
// since then is told by a later event.
func (a *announcer) announceImages(changes daemon.ImageChanges) {
	var stored map[string]properties
	if len(changes.Added)+len(changes.Changed) > 0 {
		stored = a.images()
	}
	for _, name := range changes.Added {
		if shown, exists := stored[name]; exists {
			a.emitAdded(imagePath(name), imageInterface, variants(shown))
		}
	}
	for _, name := range changes.Changed {
		if shown, exists := stored[name]; exists {
			told := variants(shown)
			for _, property := range a.silentOfImage {
				delete(told, property)
			}
			a.emitChanged(imagePath(name), imageInterface, told)
		}
	}
	for _, name := range changes.Removed {
		if isImageName(name) {
			a.emitRemoved(imagePath(name), imageInterface)
		}
	}
	a.emit(rootPath, managerInterface+".ImagesChanged",
		busTexts(changes.Added), busTexts(changes.Changed), busTexts(changes.Removed))
}

func (a *announcer) emitAdded(
	path godbus.ObjectPath, iface string, shown map[string]godbus.Variant,
) {
	a.emit(rootPath, interfacesAdded, path, managedInterfaces{iface: shown})
}

func (a *announcer) emitRemoved(path godbus.ObjectPath, iface string) {
	a.emit(rootPath, interfacesRemoved, path, []string{iface})
}
