package dbus

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// activatedDirectory is the environment variable that makes this test binary the daemon: its
// repository and state are there.
const activatedDirectory = "IMPORTD_TEST_ACTIVATED_DIRECTORY"

// activatedIdle is the idle timeout of an activated daemon.
const activatedIdle = 25 * time.Millisecond

// runActivated serves until idle. It leaves a line "started" in the directory's log, and one for an
// error.
func runActivated(dir string) {
	log, err := os.OpenFile(filepath.Join(dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return
	}
	defer log.Close()
	fmt.Fprintln(log, "started")
	if err := serveActivated(dir); err != nil {
		fmt.Fprintln(log, err)
	}
}

func serveActivated(dir string) error {
	ctx := context.Background()
	repo, err := ostreerepo.Open(ctx, filepath.Join(dir, "repo"), ostreerepo.Options{})
	if err != nil {
		return err
	}
	im := importer.New(importer.Config{Repo: repo, Open: newRegistry().open})
	manager, err := daemon.New(daemon.Config{
		Importer: func() (*importer.Importer, error) { return im, nil },
		// Two of them can be alive at once, which a service manager would not let happen: one that
		// leaves has work left.
		StateDir: filepath.Join(dir, fmt.Sprint("state-", os.Getpid())),
	})
	if err != nil {
		return err
	}
	server, err := NewServer(ctx, ServerConfig{
		Manager:     manager,
		Address:     os.Getenv("DBUS_STARTER_ADDRESS"),
		IdleTimeout: activatedIdle,
		Repository:  repo.Path,
	})
	if err != nil {
		return err
	}
	return server.Run(ctx)
}

func TestNoCallIsLostAtIdleExit(t *testing.T) {
	dir := publicDir(t)
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(dir, "repo"), ostreerepo.ModeArchive, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	bus := startBus(t, activatedDirectory+"="+dir)
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bus.activate(t, binary)

	// In each round all clients call a little before or after the moment at which the daemon, left
	// alone since the last round, decides to leave.
	const clients, rounds, importEvery = 6, 60, 20
	var conns []*godbus.Conn
	for range clients {
		conns = append(conns, bus.connect(t))
	}
	for round := range rounds {
		var calls sync.WaitGroup
		for client, conn := range conns {
			offset := time.Duration(client*rounds+round) * 4 * time.Millisecond / (clients * rounds)
			calls.Go(func() {
				<-time.After(activatedIdle - time.Millisecond + offset)
				manager := conn.Object(BusName, rootPath)
				call := manager.Call(managerInterface+".ListJobs", 0)
				if round%importEvery == 0 {
					image := fmt.Sprintf("docker://example.com/storm/%d-%d", client, round)
					call = manager.Call(managerInterface+".Import", 0, image, boolVariant("wait"))
				}
				if call.Err != nil {
					t.Errorf("round %d, client %d: %v", round, client, call.Err)
				}
			})
		}
		calls.Wait()
	}
	awaitExit(t, bus)

	refs, err := repo.Refs("ostree/container/image")
	if err != nil {
		t.Fatal(err)
	}
	if want := clients * rounds / importEvery; len(refs) != want {
		t.Errorf("%d of %d accepted imports were done", len(refs), want)
	}
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	lives := strings.Count(string(log), "started\n")
	if lives < rounds/4 || string(log) != strings.Repeat("started\n", lives) {
		t.Errorf("the daemon's log:\n%s", log)
	}
	t.Logf("%d calls over %d lives of the daemon", clients*rounds, lives)
}

// awaitExit waits until nobody owns the name.
func awaitExit(t *testing.T, bus *testBus) {
	t.Helper()
	conn := bus.connect(t)
	owners := bus.owners(t, conn)
	for {
		var owned bool
		if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, BusName).Store(&owned); err != nil {
			t.Fatal(err)
		}
		if !owned {
			return
		}
		receive(t, owners)
	}
}

// owners delivers the signals about who owns the name.
func (b *testBus) owners(t *testing.T, conn *godbus.Conn) <-chan *godbus.Signal {
	t.Helper()
	signals := make(chan *godbus.Signal, 16)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(godbus.WithMatchMember("NameOwnerChanged"), godbus.WithMatchArg(0, BusName)); err != nil {
		t.Fatal(err)
	}
	return signals
}

func TestIdleExit(t *testing.T) {
	s := newSuite(t, suiteOptions{idle: 50 * time.Millisecond, noHammer: true})
	if err := s.finished(t); err != nil {
		t.Fatal(err)
	}
	s.notified.mu.Lock()
	defer s.notified.mu.Unlock()
	if !slices.Contains(s.notified.all, "READY=1") || !slices.Contains(s.notified.all, "STOPPING=1") {
		t.Errorf("the service manager was told %q", s.notified.all)
	}
}

func TestNotIdleWhileAJobRuns(t *testing.T) {
	s := newSuite(t, suiteOptions{idle: 50 * time.Millisecond, noHammer: true})
	release := s.registry.block(t, "example.com/slow")
	s.startImport(t, s.connect(t), "docker://example.com/slow", nil)
	select {
	case err := <-s.done:
		t.Fatalf("the server left during a job: %v", err)
	case <-time.After(300 * time.Millisecond):
	}
	release()
	if err := s.finished(t); err != nil {
		t.Fatal(err)
	}
}

func TestJobThatSlipsInIsDoneUnderTheName(t *testing.T) {
	var s *suite
	started := make(chan uint64, 1)
	// The service manager is told after the decision to leave and before the name is given away: a
	// call comes right then.
	slipIn := func(states ...string) {
		if slices.Contains(states, "STOPPING=1") {
			id, _ := s.startImport(t, s.connect(t), "docker://example.com/late", nil)
			started <- id
		}
	}
	s = prepareSuite(t, suiteOptions{idle: 50 * time.Millisecond, notify: slipIn})
	release := s.registry.block(t, "example.com/late")
	// A service manager would have the next process wait until this one is gone; so does this one
	// that never comes up.
	s.activate(t, "/bin/sleep 5")
	owners := s.owners(t, s.connect(t))
	s.serve(t)
	unique := s.server.conn.Names()[0]
	awaitOwner(t, owners, unique)
	id := receive(t, started)
	awaitOwner(t, owners, "")
	waited := make(chan error, 1)
	go func() {
		_, err := s.client(t).Wait(context.Background(), id, nil)
		waited <- err
	}()
	awaitOwner(t, owners, unique)
	s.notified.await(t, "EXTEND_TIMEOUT_USEC=30000000")
	release()
	if err := receive(t, waited); err != nil {
		t.Error(err)
	}
	if err := s.finished(t); err != nil {
		t.Error(err)
	}
}

// awaitOwner waits until the name belongs to owner.
func awaitOwner(t *testing.T, signals <-chan *godbus.Signal, owner string) {
	t.Helper()
	for {
		if name, now := ownerChange(receive(t, signals)); name == BusName && now == owner {
			return
		}
	}
}

func TestShutdownAnswersThoseWhoWait(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.registry.block(t, "example.com/endless")
	conn := s.connect(t)
	signals := s.signals(t, conn)
	waiting := conn.Object(BusName, rootPath).Go(managerInterface+".Import", 0, nil,
		"docker://example.com/endless", boolVariant("wait"))
	awaitSignal(t, signals, "JobNew")
	s.stop()
	wantErrorName(t, receive(t, waiting.Done).Err, errorPrefix+"Interrupted")
	if err := s.finished(t); err != nil {
		t.Error(err)
	}
	if got := awaitSignal(t, signals, "JobFinished").Body[3]; got != errorPrefix+"Interrupted" {
		t.Errorf("JobFinished says %v", got)
	}
}

func TestLostBusEndsTheServerWithAnError(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	s.server.conn.Close()
	if err := s.finished(t); err == nil {
		t.Error("no error")
	}
}

// TestLostBusInterruptsJobs: nobody can reach the daemon, and the next one is to take its place.
// What had finished is remembered.
func TestLostBusInterruptsJobs(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	_, done := s.startImport(t, conn, "docker://example.com/image:1", nil)
	if err := s.wait(conn, done); err != nil {
		t.Fatal(err)
	}
	s.registry.block(t, "example.com/endless")
	s.startImport(t, conn, "docker://example.com/endless", nil)
	s.server.conn.Close()
	if err := s.finished(t); err == nil || !strings.Contains(err.Error(), "the connection to the bus was lost") {
		t.Errorf("error %v", err)
	}
	next, err := daemon.New(daemon.Config{StateDir: s.stateDir})
	if err != nil {
		t.Fatal(err)
	}
	jobs := next.Jobs()
	if len(jobs) != 2 || jobs[0].Result != daemon.ResultDone || jobs[1].ErrorKind != importer.KindInterrupted {
		t.Errorf("jobs %+v", jobs)
	}
}

func TestSecondServerIsRefused(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	_, err := NewServer(t.Context(), ServerConfig{Manager: s.manager, Address: s.address})
	if err == nil || !strings.Contains(err.Error(), "another process owns it") {
		t.Errorf("error %v", err)
	}
}
