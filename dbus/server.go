package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/daemon"
)

// defaultShutdownTimeout leaves a margin below the 90 s that service managers usually wait.
const defaultShutdownTimeout = 80 * time.Second

// ServerConfig says what a Server serves, and where.
type ServerConfig struct {
	Manager *daemon.Manager
	// Address is "system", "session" or a D-Bus address; "" means "system".
	Address string
	// IdleTimeout is how long after the last call and the last job Run returns; 0 means never.
	IdleTimeout time.Duration
	// ShutdownTimeout bounds how long Run waits for canceled jobs when its context ends; 0 means 80
	// s.
	ShutdownTimeout time.Duration
	// Notify tells the service manager the state (sd_notify assignments, several of them in one
	// datagram); nil tells nobody.
	Notify func(states ...string)
	// Version and Repository are what the properties of these names say. Where the repository is
	// may change until there is one.
	Version    string
	Repository func() string
	// Log takes the server's messages, and its level is what LogControl1 changes; nil discards.
	Log *logrus.Logger
}

// Server serves a daemon.Manager under BusName.
type Server struct {
	manager         *daemon.Manager
	conn            *godbus.Conn
	calls           *callTracker
	turns           *turns
	gate            *gate
	log             *logrus.Logger
	notify          func(states ...string)
	idleTimeout     time.Duration
	shutdownTimeout time.Duration
	version         string
	repository      func() string
	methods         map[string]map[string]handler
	setters         map[string]map[string]func(value any) error
	events          <-chan daemon.Event
	unsubscribe     func()
}

// NewServer connects to the bus and takes BusName; calls are answered from then on. Run has to
// follow.
func NewServer(ctx context.Context, config ServerConfig) (*Server, error) {
	s := &Server{
		manager:         config.Manager,
		calls:           newCallTracker(),
		log:             config.Log,
		notify:          config.Notify,
		idleTimeout:     config.IdleTimeout,
		shutdownTimeout: config.ShutdownTimeout,
		version:         config.Version,
		repository:      config.Repository,
	}
	if s.log == nil {
		s.log = logrus.New()
		s.log.SetOutput(io.Discard)
	}
	if s.notify == nil {
		s.notify = func(...string) {}
	}
	if s.shutdownTimeout == 0 {
		s.shutdownTimeout = defaultShutdownTimeout
	}
	s.methods = s.standardMethods()
	s.methods[managerInterface] = s.managerMethods()
	s.methods[jobInterface] = s.jobMethods()
	s.methods[preparedInterface] = s.preparedMethods()
	s.methods[imageInterface] = s.imageMethods()
	s.setters = map[string]map[string]func(any) error{logControlInterface: {"LogLevel": s.setLogLevel}}

	connected := make(chan struct{})
	s.turns = newTurns(func(sender string) (uint32, error) {
		<-connected
		return unixUser(s.conn, sender)
	})
	through := func(socket net.Conn) io.ReadWriteCloser {
		s.gate = newGate(socket, s.calls, s.turns, s.log)
		return s.gate
	}
	conn, err := connectThrough(ctx, config.Address, through,
		godbus.WithHandler(router{s}),
		godbus.WithSerialGenerator(s.calls),
		godbus.WithIncomingInterceptor(s.arrived),
		godbus.WithOutgoingInterceptor(s.calls.answering))
	s.conn = conn
	close(connected)
	if err != nil {
		return nil, err
	}
	s.events, s.unsubscribe = s.manager.Subscribe()
	if err := s.takeName(ctx); err != nil {
		s.unsubscribe()
		conn.Close()
		return nil, err
	}
	return s, nil
}

// Run says READY=1 and serves. It returns nil after the idle timeout and when ctx ends (jobs are
// canceled then and their callers are answered), and an error when the bus went away or took the
// name. The server cannot be used afterwards.
func (s *Server) Run(ctx context.Context) error {
	stop, announced := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(announced)
		newAnnouncer(s.manager.ActiveWithoutLookups, s.shownImages, s.emit, s.showStatus).run(s.events, stop, s.calls.touch)
	}()
	s.notify("READY=1", "STATUS="+statusWaiting)
	err := s.serve(ctx)
	close(stop)
	<-announced
	s.unsubscribe()
	if closeErr := s.conn.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close the connection to the bus: %w", closeErr)
	}
	s.turns.lookups.Wait()
	return err
}

// arrived counts a call. It runs in the goroutine that reads, right after the gate has passed the
// message on.
func (s *Server) arrived(msg *godbus.Message) {
	if msg.Type != godbus.TypeMethodCall {
		return
	}
	s.calls.arrived(msg)
	key := keyOf(msg)
	leave := s.turns.enter(key.sender, s.gate.current.cost())
	if files := s.gate.current.files; len(files) > 0 {
		s.gate.current.files = nil
		leave = s.bring(key, files, leave)
	}
	s.calls.after(key, leave)
	// Of arguments that no method takes the gate passes nothing on, but the answer depends on their
	// types.
	given := s.gate.current.texts[godbus.FieldSignature]
	if signature, err := godbus.ParseSignature(given); err == nil {
		msg.Headers[godbus.FieldSignature] = godbus.MakeVariant(signature)
	}
}

// shownImages are the images as signals tell them. Those that cannot be read now are left out.
func (s *Server) shownImages() map[string]properties {
	images, err := s.manager.Images(s.conn.Context())
	if err != nil {
		s.log.WithError(err).Warn("cannot tell what the changed images are now")
	}
	return imagesByName(images)
}

// bring has a call find the descriptors that came with it, and returns what ends the call: it
// closes those that no job has, and counts the call until they are closed.
func (s *Server) bring(key callKey, files []*os.File, leave func()) (end func()) {
	brought := &descriptors{files: files}
	s.calls.bring(key, brought)
	return func() {
		go func() { // closing a file may take as long as whoever serves its file system wants
			brought.close()
			leave()
		}()
	}
}

// emit sends a signal. A bus that is gone is Run's business.
func (s *Server) emit(path godbus.ObjectPath, signal string, values ...any) {
	if err := s.conn.Emit(path, signal, values...); err != nil && !errors.Is(err, godbus.ErrClosed) {
		s.log.WithError(err).Errorf("cannot emit %s", signal)
	}
}

// showStatus has the service manager show one line.
func (s *Server) showStatus(text string) {
	s.notify("STATUS=" + strings.ReplaceAll(text, "\n", " "))
}

func (s *Server) takeName(ctx context.Context) error {
	var reply godbus.RequestNameReply
	err := callBus(ctx, s.conn, "RequestName", BusName, godbus.NameFlagDoNotQueue).Store(&reply)
	if err != nil {
		return fmt.Errorf("take the bus name %s: %w", BusName, err)
	}
	if reply != godbus.RequestNameReplyPrimaryOwner && reply != godbus.RequestNameReplyAlreadyOwner {
		return fmt.Errorf("take the bus name %s: another process owns it", BusName)
	}
	return nil
}

func (s *Server) releaseName() error {
	var reply godbus.ReleaseNameReply
	err := callBus(s.conn.Context(), s.conn, "ReleaseName", BusName).Store(&reply)
	if err != nil {
		return fmt.Errorf("release the bus name %s: %w", BusName, err)
	}
	return nil
}
