package daemon

import (
	"os/exec"
	"reflect"
	"slices"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// changesUntil returns what all ImagesChanged tell up to the wanted event.
func changesUntil(
	t *testing.T, events <-chan Event, wanted func(Event) bool,
) (changes []ImageChanges) {
	t.Helper()
	last, before := await(t, events, wanted)
	for _, e := range append(before, last) {
		if e.Type == ImagesChanged {
			changes = append(changes, e.Images)
		}
	}
	return changes
}

func TestImagesChangedSaysWhich(t *testing.T) {
	f := newFixture(t)
	const one, two = "docker://example.com/one", "docker://example.com/two"
	f.registry.add(t, "example.com/one", "a")
	f.registry.add(t, "example.com/two", "b")
	events := subscribe(t, f.Manager)
	done := func(job *Job, err error) {
		t.Helper()
		finished(t, started(t)(job, err), ResultDone)
	}
	pull := func(name string) func() {
		return func() { done(f.Import(request(name), JobOptions{}, Caller{})) }
	}
	for _, step := range []struct {
		name string
		do   func()
		want []ImageChanges
	}{
		{"a new image", pull("example.com/one"), []ImageChanges{{Added: []string{one}}}},
		{"another one", pull("example.com/two"), []ImageChanges{{Added: []string{two}}}},
		{"the same again", pull("example.com/two"), nil},
		{"layers only", func() {
			r := request("example.com/two")
			r.NoRef = true
			done(f.Import(r, JobOptions{}, Caller{}))
		}, nil},
		{"a newer one is found", func() {
			f.registry.add(t, "example.com/one", "c")
			done(f.CheckUpdate(importer.UpdateRequest{Image: one}, JobOptions{}, Caller{}))
		}, []ImageChanges{{Changed: []string{one}}}},
		{"and imported", pull("example.com/one"), []ImageChanges{{Changed: []string{one}}}},
		{"one that is not there is removed", func() {
			three := []string{"docker://example.com/three"}
			done(f.Remove(importer.RemoveRequest{Images: three}, JobOptions{}, Caller{}))
		}, nil},
		{"both are removed", func() {
			done(f.Remove(importer.RemoveRequest{Images: []string{two, one}}, JobOptions{}, Caller{}))
		}, []ImageChanges{{Removed: []string{one, two}}}},
	} {
		step.do()
		f.emit(Event{Type: PreparedRemoved})
		got := changesUntil(t, events, func(e Event) bool { return e.Type == PreparedRemoved })
		if !reflect.DeepEqual(got, step.want) {
			t.Errorf("%s: %+v, want %+v", step.name, got, step.want)
		}
	}
}

// TestImagesOfOthers: what another program does is told when somebody asks.
func TestImagesOfOthers(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/one", "a")
	status := finished(t, f.startImport(t, "example.com/one"), ResultDone)
	events := subscribe(t, f.Manager)
	command := exec.Command(needs.Tool(t, "ostree"), "refs", "--repo="+f.repo.Path(),
		"--delete", status.Import.ImageRef)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	if images, err := f.Images(t.Context()); err != nil || len(images) > 0 {
		t.Errorf("images %+v, %v", images, err)
	}
	got := changesUntil(t, events, func(e Event) bool { return e.Type == ImagesChanged })
	if !slices.Equal(got[0].Removed, []string{"docker://example.com/one"}) {
		t.Errorf("changes %+v", got)
	}
}
