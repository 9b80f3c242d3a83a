package encapsulate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/document"
)

// maxChanges is how often a component of a ContentMap may change in a year.
const maxChanges = 1 << 20

// ContentMap says what the contents of a commit belong to, in place of its package database.
type ContentMap struct {
	Components map[string]Component `json:"components"`
}

// Component is what changes together.
type Component struct {
	Changes int      `json:"changes"` // in a year
	Paths   []string `json:"paths"`   // of files, or of directories with all that is below them
}

// ParseContentMap reads a ContentMap as JSON: {"components": {NAME: {"changes": NUMBER, "paths":
// [PATH, ...]}, ...}}. What else is in it is an error.
func ParseContentMap(raw []byte) (*ContentMap, error) {
	canonical, replaced, err := document.Canonical(raw)
	if err = errors.Join(err, replaced); err != nil { // such as a name that is there twice
		return nil, err
	}
	decoder := json.NewDecoder(strings.NewReader(string(canonical)))
	decoder.DisallowUnknownFields()
	var m ContentMap
	if err := decoder.Decode(&m); err != nil {
		return nil, err
	}
	if len(m.Components) == 0 {
		return nil, errors.New("it has no components")
	}
	for name, c := range m.Components {
		switch {
		case name == "" || cleanName(name) != name:
			return nil, fmt.Errorf("%q can't be the name of a component: it is empty, or has a comma or a control character", name)
		case c.Changes < 0 || c.Changes > maxChanges:
			return nil, fmt.Errorf("the component %q can't change %d times a year; 0 to %d are possible", name, c.Changes, maxChanges)
		}
	}
	return &m, nil
}

// claim finds what belongs to the components. The longest path that leads to a content counts; of
// components that have the same one, the first by name.
func (m *ContentMap) claim(ctx context.Context, t *tree) (*packages, error) {
	p := newPackages(t)
	places := make(map[string]string)
	for _, name := range slices.Sorted(maps.Keys(m.Components)) {
		p.changes[name] = m.Components[name].Changes
		for _, listed := range m.Components[name].Paths {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			at, ok := t.place(listed)
			if _, taken := places[at]; ok && !taken {
				places[at] = name
			}
		}
	}
	for at, c := range t.files {
		if name, ok := owner(places, at); ok {
			p.give(name, t.contents[c])
		}
	}
	p.all = true
	return p, nil
}

// place finds the path in the commit of a file or directory that is named as in the running system;
// ok is false for one that leads nowhere.
func (t *tree) place(name string) (at string, ok bool) {
	if len(name) > maxPath {
		return "", false
	}
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if at, ok := t.realDir(name, maxLinks); ok {
		return at, true
	}
	parent, base := path.Split(name)
	at, ok = t.realDir(strings.TrimSuffix(parent, "/"), maxLinks)
	return path.Join(at, base), ok
}

// owner finds the component of a path: that of the path itself, or of the nearest directory above
// it.
func owner(places map[string]string, at string) (name string, ok bool) {
	for {
		if name, ok := places[at]; ok {
			return name, true
		}
		if at == "" {
			return "", false
		}
		at = strings.TrimSuffix(path.Dir(at), ".")
	}
}
