package daemon

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// prepare stores the plan of an image.
func (f *fixture) prepare(t *testing.T, name string) uint64 {
	t.Helper()
	j := started(t)(f.Prepare(request(name), JobOptions{}, Caller{}))
	status := finished(t, j, ResultDone)
	if status.PreparedID != j.ID() {
		t.Fatalf("job %d prepared %d", j.ID(), status.PreparedID)
	}
	return status.PreparedID
}

func TestPreparedSurvivesRestartAndMovedTag(t *testing.T) {
	f := newFixture(t)
	old := f.registry.add(t, "example.com/os:1", "old")
	id := f.prepare(t, "example.com/os:1")
	if images, err := f.Images(t.Context()); err != nil || len(images) > 0 {
		t.Errorf("prepare imported %+v, %v", images, err)
	}
	f.shutdown(t, f.Manager)
	f.start(t)

	p, err := f.Prepared(id)
	if err != nil {
		t.Fatal(err)
	}
	if p.Plan.ManifestDigest != old || p.Plan.LayersToFetch != 1 || !p.Expires.After(time.Now()) {
		t.Errorf("plan %+v", p)
	}
	if all := f.ListPrepared(); len(all) != 1 || all[0].ID != id {
		t.Errorf("plans %+v", all)
	}
	f.registry.add(t, "example.com/os:1", "new")
	status := finished(t, started(t)(f.ImportPrepared(id, JobOptions{}, Caller{})), ResultDone)
	if status.Import.ManifestDigest != old || status.Type != JobImport || status.Image != "docker://example.com/os:1" {
		t.Errorf("imported %+v", status)
	}
	if status.ID <= id {
		t.Errorf("id %d came after %d", status.ID, id)
	}
}

func TestImportPreparedSharesJobs(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/os:1", "content")
	one, two := f.prepare(t, "example.com/os:1"), f.prepare(t, "example.com/os:1")
	held := f.registry.block(t, "blob example.com/os:1")
	first := started(t)(f.ImportPrepared(one, JobOptions{}, Caller{}))
	<-held.reached
	for _, tt := range []struct {
		name  string
		ask   func() (*Job, error)
		share bool
	}{
		{"same plan", func() (*Job, error) { return f.ImportPrepared(one, JobOptions{}, Caller{}) }, true},
		{"equal plan", func() (*Job, error) { return f.ImportPrepared(two, JobOptions{}, Caller{}) }, true},
		{"by name", func() (*Job, error) { return f.Import(request("example.com/os:1"), JobOptions{}, Caller{}) }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if j := started(t)(tt.ask()); (j.ID() == first.ID()) != tt.share {
				t.Errorf("job %d for the first's %d", j.ID(), first.ID())
			}
		})
	}
	if err := f.Discard(one); err != nil {
		t.Error(err)
	}
	held.release()
	finished(t, first, ResultDone)
}

func TestDiscard(t *testing.T) {
	f := newFixture(t)
	f.registry.add(t, "example.com/os:1", "content")
	id := f.prepare(t, "example.com/os:1")
	events := subscribe(t, f.Manager)
	if err := f.Discard(id); err != nil {
		t.Fatal(err)
	}
	if e := <-events; e.Type != PreparedRemoved || e.PreparedID != id {
		t.Errorf("event %+v", e)
	}
	_, err := f.Prepared(id)
	wantKind(t, err, importer.KindNoSuchPrepared)
	_, err = f.ImportPrepared(id, JobOptions{}, Caller{})
	wantKind(t, err, importer.KindNoSuchPrepared)
	wantKind(t, f.Discard(id), importer.KindNoSuchPrepared)
	f.shutdown(t, f.Manager)
	f.start(t)
	if all := f.ListPrepared(); len(all) > 0 {
		t.Errorf("after a restart there is %+v", all)
	}
}

func TestPreparedExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		events := subscribe(t, f.Manager)
		f.registry.add(t, "example.com/os:1", "content")
		id := f.prepare(t, "example.com/os:1")
		time.Sleep(59 * time.Minute)
		if _, err := f.Prepared(id); err != nil {
			t.Error(err)
		}
		e, _ := await(t, events, func(e Event) bool { return e.Type == PreparedRemoved })
		if e.PreparedID != id {
			t.Errorf("event %+v", e)
		}
		_, err := f.Prepared(id)
		wantKind(t, err, importer.KindPreparedExpired)
		if err == nil || !strings.Contains(err.Error(), "prepare the image again") {
			t.Errorf("message %q", err)
		}
	})
}

func TestPreparedExpiresAcrossRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		f.registry.add(t, "example.com/os:1", "content")
		id := f.prepare(t, "example.com/os:1")
		f.shutdown(t, f.Manager)
		time.Sleep(time.Hour + time.Second)
		f.start(t)
		synctest.Wait()
		_, err := f.Prepared(id)
		wantKind(t, err, importer.KindPreparedExpired)
	})
}

func TestPreparedMakesRoom(t *testing.T) {
	f := newFixture(t, func(c *Config) { c.PreparedMax = 2 })
	f.registry.add(t, "example.com/os:1", "content")
	var ids []uint64
	for range 5 {
		ids = append(ids, f.prepare(t, "example.com/os:1"))
	}
	for i, want := range []importer.Kind{importer.KindNoSuchPrepared, importer.KindPreparedExpired, importer.KindPreparedExpired, "", ""} {
		if _, err := f.Prepared(ids[i]); importer.KindOf(err) != want {
			t.Errorf("plan %d: %v, want kind %q", ids[i], err, want)
		}
	}
}
