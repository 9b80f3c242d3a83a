package dbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestMain is the daemon as well, when a bus of these tests starts it.
func TestMain(m *testing.M) {
	if dir := os.Getenv(activatedDirectory); dir != "" && os.Getenv("DBUS_STARTER_ADDRESS") != "" {
		runActivated(dir)
		return
	}
	os.Exit(m.Run())
}

// suite is a server with a real repository on a private bus.
type suite struct {
	*testBus
	options    suiteOptions
	registry   *registry
	stateDir   string
	repository string // its path
	manager    *daemon.Manager
	server     *Server
	notified   *notifications
	stop       context.CancelFunc
	done       chan error // Run's result
}

type suiteOptions struct {
	idle     time.Duration
	noHammer bool
	daemon   daemon.Config
	notify   func(states ...string)
}

// newSuite starts it all, with three clients that ask for everything all the time unless told
// otherwise.
func newSuite(t testing.TB, options suiteOptions) *suite {
	t.Helper()
	s := prepareSuite(t, options)
	s.serve(t)
	if !options.noHammer {
		s.hammer(t)
	}
	return s
}

// prepareSuite makes everything but the server.
func prepareSuite(t testing.TB, options suiteOptions) *suite {
	t.Helper()
	s := &suite{testBus: startBus(t), options: options, registry: newRegistry(), notified: newNotifications()}
	needs.Tool(t, "ostree")
	path := filepath.Join(t.TempDir(), "repo")
	repo, err := ostreerepo.Create(context.Background(), path, ostreerepo.ModeArchive, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.repository = repo.Path()
	config := options.daemon
	if config.Imports == 0 {
		config.Imports = 1 // so that one that is held up holds up others
	}
	im := importer.New(importer.Config{Repo: repo, Open: s.registry.open})
	config.Importer = func() (*importer.Importer, error) { return im, nil }
	config.Init = func(ctx context.Context, r importer.InitRequest) (*importer.InitResult, error) {
		return importer.Init(ctx, path, r)
	}
	if config.StateDir == "" {
		config.StateDir = t.TempDir()
	}
	s.stateDir = config.StateDir
	if s.manager, err = daemon.New(config); err != nil {
		t.Fatal(err)
	}
	return s
}

// replace makes the server answer a method of the manager's by fn. The race detector sees no order in what
// goes through a socket with descriptors: asking for the calls orders this before each later call.
func (s *suite) replace(method string, fn func(*call) ([]any, error)) {
	s.server.methods[managerInterface][method] = fn
	s.server.calls.state()
}

// serve runs a server for the manager until the test ends.
func (s *suite) serve(t testing.TB) {
	t.Helper()
	log := logrus.New()
	log.SetOutput(t.Output())
	server, err := NewServer(context.Background(), ServerConfig{
		Manager:     s.manager,
		Address:     s.address,
		IdleTimeout: s.options.idle,
		Notify: func(states ...string) {
			s.notified.add(states...)
			if s.options.notify != nil {
				s.options.notify(states...)
			}
		},
		Version:    "1.2.3",
		Repository: func() string { return "/ostree/repo" },
		Log:        log,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.server, s.stop, s.done = server, cancel, make(chan error, 1)
	done := s.done
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done <- server.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-ended:
		case <-time.After(testTimeout):
			t.Error("the server does not end")
		}
	})
}

// finished waits for the end of Run.
func (s *suite) finished(t testing.TB) error {
	t.Helper()
	return receive(t, s.done)
}

// hammer has three clients introspect, read and list without pause.
func (s *suite) hammer(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	for range 3 {
		conn := s.connect(t)
		running.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				job := jobPath(uint64(n%40 + 1))
				for _, path := range []godbus.ObjectPath{"/", rootPath, jobsPath, imagesPath, job, rootPath + "/none"} {
					conn.Object(BusName, path).CallWithContext(ctx, introspectableInterface+".Introspect", 0)
				}
				conn.Object(BusName, job).CallWithContext(ctx, propertiesInterface+".GetAll", 0, jobInterface)
				conn.Object(BusName, rootPath).CallWithContext(ctx, managerInterface+".ListJobs", 0)
			}
		})
	}
}

// manage calls a method of the Manager.
func (s *suite) manage(conn *godbus.Conn, method string, args ...any) *godbus.Call {
	return conn.Object(BusName, rootPath).Call(managerInterface+"."+method, 0, args...)
}

// startImport imports an image and returns the job's id and path.
func (s *suite) startImport(t *testing.T, conn *godbus.Conn, image string, options map[string]godbus.Variant) (uint64, godbus.ObjectPath) {
	t.Helper()
	if options == nil {
		options = map[string]godbus.Variant{}
	}
	var id uint64
	var path godbus.ObjectPath
	var results map[string]godbus.Variant
	if err := s.manage(conn, "Import", image, options).Store(&id, &path, &results); err != nil {
		t.Fatal(err)
	}
	return id, path
}

// awaitSignal waits for one of the Manager's signals.
func awaitSignal(t *testing.T, signals <-chan *godbus.Signal, member string) *godbus.Signal {
	t.Helper()
	for {
		if signal := receive(t, signals); signal.Name == managerInterface+"."+member {
			return signal
		}
	}
}

// awaitJobSignal waits for the next signal that is about a job.
func awaitJobSignal(t *testing.T, signals <-chan *godbus.Signal) *godbus.Signal {
	t.Helper()
	for {
		signal := receive(t, signals)
		if strings.HasPrefix(signal.Name, managerInterface+".Job") || strings.HasPrefix(string(signal.Path), string(jobsPath)) {
			return signal
		}
	}
}

// wait waits for a job over the bus.
func (s *suite) wait(conn *godbus.Conn, path godbus.ObjectPath) error {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	defer cancel()
	return conn.Object(BusName, path).CallWithContext(ctx, jobInterface+".Wait", 0).Err
}

// signals delivers all signals of the server to a connection.
func (s *suite) signals(t *testing.T, conn *godbus.Conn) <-chan *godbus.Signal {
	t.Helper()
	signals := make(chan *godbus.Signal, 16)
	conn.Signal(signals)
	if err := conn.AddMatchSignal(godbus.WithMatchPathNamespace(rootPath)); err != nil {
		t.Fatal(err)
	}
	return signals
}

// notifications are what the service manager was told.
type notifications struct {
	mu    sync.Mutex
	all   []string
	added chan struct{}
}

func newNotifications() *notifications { return &notifications{added: make(chan struct{}, 1)} }

func (n *notifications) add(states ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.all = append(n.all, states...)
	select {
	case n.added <- struct{}{}:
	default:
	}
}

// await waits until the service manager was told something that begins with prefix.
func (n *notifications) await(t *testing.T, prefix string) {
	t.Helper()
	for {
		n.mu.Lock()
		told := slices.ContainsFunc(n.all, func(state string) bool { return strings.HasPrefix(state, prefix) })
		n.mu.Unlock()
		if told {
			return
		}
		receive(t, n.added)
	}
}

// receive takes one value, or fails the test.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case value, open := <-from:
		if !open {
			t.Fatal("the channel was closed")
		}
		return value
	case <-time.After(testTimeout):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// errorNameOf is the name of the D-Bus error that err is, or a text that says what it is instead.
func errorNameOf(err error) string {
	var reply godbus.Error
	if !errors.As(err, &reply) {
		return fmt.Sprintf("%T: %v", err, err)
	}
	return reply.Name
}

func wantErrorName(t *testing.T, err error, name string) {
	t.Helper()
	if got := errorNameOf(err); got != name {
		t.Errorf("error %s (%v), want %s", got, err, name)
	}
}

func boolVariant(name string) map[string]godbus.Variant {
	return map[string]godbus.Variant{name: godbus.MakeVariant(true)}
}
