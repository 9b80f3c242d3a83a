package dbus

import (
	"context"
	"errors"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

func wantKind(t *testing.T, err error, kind importer.Kind) {
	t.Helper()
	var known *importer.Error
	if !errors.As(err, &known) || known.Kind != kind {
		t.Errorf("error %T %v, want one of kind %s", err, err, kind)
	}
}

func TestClientGivesWhatTheManagerHas(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	client, ctx := s.client(t), t.Context()
	request := importer.Request{Image: "docker://example.com/image:1", Jobs: 2}

	prepared, err := client.Prepare(ctx, request, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if want, err := s.manager.Prepared(prepared.ID); err != nil || !reflect.DeepEqual(prepared.Plan, want.Plan) || !prepared.Expires.Equal(want.Expires) {
		t.Errorf("prepared %+v, %v, want %+v", prepared, err, want)
	}
	id, err := client.ImportPrepared(ctx, prepared.ID, daemon.JobOptions{TransactionID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	var states []daemon.JobState
	status, err := client.Wait(ctx, id, func(status daemon.JobStatus) { states = append(states, status.State) })
	if err != nil {
		t.Fatal(err)
	}
	if len(states) == 0 || states[len(states)-1] != daemon.StateFinished {
		t.Errorf("the states on the way were %q", states)
	}
	if status.Import == nil || status.Import.ManifestDigest != prepared.Plan.ManifestDigest || status.TransactionID != "x" {
		t.Errorf("the status is %+v", status)
	}
	id, err = client.Import(ctx, request, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if status, err = client.Wait(ctx, id, nil); err != nil || !status.Import.AlreadyPresent {
		t.Errorf("the second import: %+v, %v", status.Import, err)
	}
	jobs, err := client.Jobs(ctx)
	if want := s.manager.Jobs(); err != nil || len(jobs) != len(want) || jobs[1].Import.Commit != want[1].Import.Commit {
		t.Errorf("jobs %+v, %v", jobs, err)
	}
	images, err := client.Images(ctx)
	if want, _ := s.manager.Images(ctx); err != nil || !reflect.DeepEqual(images, want) {
		t.Errorf("images %+v, %v, want %+v", images, err, want)
	}
	image, err := client.Image(ctx, "ostree-unverified-registry:example.com/image:1")
	if want, _ := s.manager.Image(ctx, "docker://example.com/image:1"); err != nil || !reflect.DeepEqual(image, want) {
		t.Errorf("image %+v, %v, want %+v", image, err, want)
	}
}

func TestClientErrors(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	client, ctx := s.client(t), t.Context()
	s.registry.fail("example.com/closed", &importer.Error{Kind: importer.KindRegistryUnauthorized, Err: errors.New("who are you?")})
	_, err := client.Job(ctx, 77)
	wantKind(t, err, importer.KindNoSuchJob)
	_, err = client.Wait(ctx, 77, nil)
	wantKind(t, err, importer.KindNoSuchJob)
	wantKind(t, client.Cancel(ctx, 77), importer.KindNoSuchJob)
	_, err = client.ImportPrepared(ctx, 77, daemon.JobOptions{})
	wantKind(t, err, importer.KindNoSuchPrepared)
	_, err = client.Image(ctx, "docker://example.com/none")
	wantKind(t, err, importer.KindNoSuchImage)
	_, err = client.Import(ctx, importer.Request{Image: "docker://example.com/x", Jobs: 1000}, daemon.JobOptions{})
	wantKind(t, err, importer.KindInvalidOption)
	_, err = client.Prepare(ctx, importer.Request{Image: "docker://example.com/closed"}, daemon.JobOptions{})
	wantKind(t, err, importer.KindRegistryUnauthorized)
	id, err := client.Import(ctx, importer.Request{Image: "docker://example.com/closed"}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Wait(ctx, id, nil)
	wantKind(t, err, importer.KindRegistryUnauthorized)

	denied := &Client{conn: s.connectAs(t, nobody)}
	_, err = denied.Import(ctx, importer.Request{Image: "docker://example.com/x"}, daemon.JobOptions{})
	wantKind(t, err, importer.KindAccessDenied)

	canceled, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := client.Jobs(canceled); !errors.Is(err, context.Canceled) {
		t.Errorf("the caller's own end is %v", err)
	}
}

func TestClientLetsPolkitAskForAPassword(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.startPolkit(t, password)
	ask := func(client *Client) error {
		_, err := client.Import(t.Context(), importer.Request{Image: "docker://example.com/x"}, daemon.JobOptions{})
		return err
	}
	client := &Client{conn: s.connectAs(t, nobody)}
	if err := ask(client); err != nil {
		t.Error(err)
	}
	prepared := 0
	client.OnPassword(func(context.Context) bool { prepared++; return true })
	if err := ask(client); err != nil || prepared != 1 {
		t.Errorf("%v after %d calls of OnPassword's function, want one", err, prepared)
	}
	client.OnPassword(func(context.Context) bool { return false })
	wantKind(t, ask(client), importer.KindAccessDenied)
}

// TestNoPasswordIsWanted: where polkit decides without one, nobody has to be there who asks for it.
func TestNoPasswordIsWanted(t *testing.T) {
	for name, answer := range map[string]func(polkitCheck) (bool, bool, *godbus.Error){"yes": yes, "no": no} {
		t.Run(name, func(t *testing.T) {
			s := newSuite(t, suiteOptions{})
			s.startPolkit(t, answer)
			client := &Client{conn: s.connectAs(t, nobody)}
			client.OnPassword(func(context.Context) bool { t.Error("called"); return true })
			_, err := client.Import(t.Context(), importer.Request{Image: "docker://example.com/x"}, daemon.JobOptions{})
			if (err == nil) != (name == "yes") {
				t.Error(err)
			}
		})
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	bus := startBus(t)
	_, err := bus.client(t).Jobs(t.Context())
	wantKind(t, err, importer.KindNotAvailable)
	_, err = Dial(t.Context(), "unix:path="+filepath.Join(t.TempDir(), "none"))
	wantKind(t, err, importer.KindNotAvailable)
}

func TestWaitEndsWithItsContext(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.registry.block(t, "example.com/endless")
	client := s.client(t)
	id, err := client.Import(t.Context(), importer.Request{Image: "docker://example.com/endless"}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err = client.Wait(ctx, id, func(status daemon.JobStatus) {
		if status.State == daemon.StateRunning {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if status, err := client.Job(t.Context(), id); err != nil || status.State != daemon.StateRunning {
		t.Errorf("the job is %q, %v", status.State, err)
	}
}

func TestWaitNoticesThatTheDaemonVanished(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	s.registry.block(t, "example.com/endless")
	client := s.client(t)
	id, err := client.Import(t.Context(), importer.Request{Image: "docker://example.com/endless"}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Wait(t.Context(), id, func(status daemon.JobStatus) {
		if status.State == daemon.StateRunning {
			s.server.conn.Close()
		}
	})
	wantKind(t, err, importer.KindInterrupted)
}

// watch starts to watch, and returns when it is sure that nothing is missed any more.
func (s *suite) watch(t *testing.T) (events chan daemon.Event, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	events, ended := make(chan daemon.Event, 1000), make(chan error, 1)
	client := s.client(t)
	go func() { ended <- client.Watch(ctx, func(event daemon.Event) { events <- event }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := receive(t, ended); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	for {
		s.server.emit(rootPath, managerInterface+".ImagesChanged")
		select {
		case <-events:
			return events, stop
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func TestWatch(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	release := s.registry.block(t, "example.com/image")
	events, stop := s.watch(t)
	id, err := s.client(t).Import(t.Context(), importer.Request{Image: "docker://example.com/image"}, daemon.JobOptions{})
	if err != nil {
		t.Fatal(err)
	}
	event := receive(t, events)
	for event.Type == daemon.ImagesChanged {
		event = receive(t, events)
	}
	if event.Type != daemon.JobNew || event.Job.ID != id || event.Job.Image != "docker://example.com/image" {
		t.Errorf("the first event is %+v", event)
	}
	release()
	changed := false
	for event.Type != daemon.JobFinished {
		event = receive(t, events)
		changed = changed || event.Type == daemon.JobChanged
	}
	if !changed || event.Job.Result != daemon.ResultDone || event.Job.Import == nil {
		t.Errorf("changed %v, the last event is %+v", changed, event)
	}
	if event := receive(t, events); event.Type != daemon.ImagesChanged || !slices.Equal(event.Images.Added, []string{"docker://example.com/image"}) {
		t.Errorf("after the end comes %+v", event)
	}
	stop()
}

func TestWatchBelievesTheDaemonOnly(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	events, _ := s.watch(t)
	liar := s.connectAs(t, nobody)
	if err := liar.Emit(rootPath, managerInterface+".JobFinished", uint64(100), jobPath(100), "done", "", ""); err != nil {
		t.Fatal(err)
	}
	// The bus answers this after it has passed on the signal.
	if err := callBus(t.Context(), liar, "GetId").Err; err != nil {
		t.Fatal(err)
	}
	s.server.emit(rootPath, managerInterface+".JobRemoved", uint64(1), jobPath(1))
	for {
		switch event := receive(t, events); event.Type {
		case daemon.JobFinished:
			t.Fatalf("believed %+v", event)
		case daemon.JobRemoved:
			return
		}
	}
}

func TestFinishedJobFromItsSignal(t *testing.T) {
	status := finishedJob(3, []any{uint64(3), jobPath(3), "failed", errorPrefix + "Network", "fetch: broke off"})
	want := daemon.JobStatus{ID: 3, State: daemon.StateFinished, Result: daemon.ResultFailed,
		ErrorKind: importer.KindNetwork, ErrorMessage: "fetch: broke off"}
	if !reflect.DeepEqual(status, want) {
		t.Errorf("%+v, want %+v", status, want)
	}
}
