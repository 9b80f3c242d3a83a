package daemon

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/ostree-importd/ostree-importd/importer"
)

// ImageChanges names the images that differ from before, as Images lists them, each list in order.
// Changed are those with another commit, another known update, or repaired content.
type ImageChanges struct {
	Added   []string `json:"added,omitempty"`
	Changed []string `json:"changed,omitempty"`
	Removed []string `json:"removed,omitempty"`
}

// IsZero reports whether no image differs.
func (c ImageChanges) IsZero() bool { return len(c.Added)+len(c.Changed)+len(c.Removed) == 0 }

// repaired are the images whose content a job may have changed although their refs are the same.
type repaired struct {
	names []string
	all   bool // whichever are stored
}

// imageWatch remembers what was stored when somebody last looked. Its lock is held from a look to
// the event that tells what it found, so that events come in the order of the looks. It is taken
// before Manager.mu.
type imageWatch struct {
	mu     sync.Mutex
	states map[string]string // nil: nobody has looked
}

// look finds out what has changed since the last look; nothing at the first one. w.mu is held.
func (w *imageWatch) look(im *importer.Importer, touched repaired) (ImageChanges, error) {
	states, err := im.ImageStates()
	if err != nil {
		return ImageChanges{}, err
	}
	before := w.states
	w.states = states
	if before == nil {
		return ImageChanges{}, nil
	}
	var c ImageChanges
	for _, name := range slices.Sorted(maps.Keys(states)) {
		switch state, known := before[name]; {
		case !known:
			c.Added = append(c.Added, name)
		case state != states[name], touched.all, slices.Contains(touched.names, name):
			c.Changed = append(c.Changed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(before)) {
		if _, stays := states[name]; !stays {
			c.Removed = append(c.Removed, name)
		}
	}
	return c, nil
}

// lookAtImages is look for the repository of the daemon. What cannot be read now is found out by
// the next look.
func (m *Manager) lookAtImages(touched repaired) ImageChanges {
	im, err := m.importer()
	if err != nil {
		return ImageChanges{}
	}
	changes, err := m.images.look(im, touched)
	if err != nil {
		m.log.WithError(err).Debug("cannot tell which images have changed")
	}
	return changes
}

// noticeImages tells what has changed since the last look, by whomever.
func (m *Manager) noticeImages() {
	m.images.mu.Lock()
	defer m.images.mu.Unlock()
	changes := m.lookAtImages(repaired{})
	m.mu.Lock()
	defer m.mu.Unlock()
	m.emitImages(changes)
}

// emitImages emits ImagesChanged unless nothing has. m.mu is held.
func (m *Manager) emitImages(changes ImageChanges) {
	if !changes.IsZero() {
		m.emit(Event{Type: ImagesChanged, Images: changes})
	}
}

// Images lists the stored images; see importer.Importer.Images. What another program has changed
// while no job ran is told by an event before.
func (m *Manager) Images(ctx context.Context) ([]importer.Image, error) {
	im, err := m.importer()
	if err != nil {
		return nil, err
	}
	if m.Active() == 0 { // what a job changes is told at its end
		m.noticeImages()
	}
	return im.Images(ctx)
}

// Image describes one stored image; see importer.Importer.Image.
func (m *Manager) Image(ctx context.Context, ref string) (*importer.Image, error) {
	im, err := m.importer()
	if err != nil {
		return nil, err
	}
	return im.Image(ctx, ref)
}

// IsStored reports whether an image of this name is stored; see importer.Importer.IsStored.
func (m *Manager) IsStored(ref string) (bool, error) {
	im, err := m.importer()
	if err != nil {
		return false, err
	}
	return im.IsStored(ref), nil
}
