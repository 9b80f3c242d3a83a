// Command ostree-importd imports container images into an OSTree repository on
// request over D-Bus. systemd starts it when somebody calls org.ostree.import1,
// and it leaves when there is nothing to do.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/systemd"
)

func main() {
	if err := command().Execute(); err != nil {
		fmt.Fprintf(os.Stderr, "ostree-importd: %v\n", err)
		os.Exit(1)
	}
}

type options struct {
	system, session, introspect             bool
	address, repository, stateDir, logLevel string
	idleTimeout                             time.Duration
	jobs                                    int
}

func command() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "ostree-importd",
		Short:         "Import container images into an OSTree repository on request over D-Bus",
		Version:       setup.Version,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.introspect {
				fmt.Fprint(cmd.OutOrStdout(), dbus.Introspection())
				return nil
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.system, "system", false, "serve on the system bus (default)")
	flags.BoolVar(&o.session, "session", false, "serve on the session bus")
	flags.StringVar(&o.address, "address", "", "serve on the bus at this `address`")
	flags.StringVar(&o.repository, "repo", setup.DefaultRepository(), "`path` of the repository")
	flags.StringVar(&o.stateDir, "state-dir", stateDir(), "`directory` for job numbers, job results and prepared images")
	flags.DurationVar(&o.idleTimeout, "idle-timeout", idleTimeout(), "leave after this `time` without calls and jobs; 0: never")
	flags.StringVar(&o.logLevel, "log-level", "info", "`level` of messages: error, warning, info, debug")
	flags.IntVar(&o.jobs, "jobs", 0, "fetch this `number` of an image's layers at once (default: the program's choice)")
	flags.BoolVar(&o.introspect, "bus-introspect", false, "print the D-Bus interface as XML")
	cmd.MarkFlagsMutuallyExclusive("system", "session", "address")
	return cmd
}

// stateDir is where systemd's RuntimeDirectory= says, or its usual place.
func stateDir() string {
	if dir := os.Getenv("RUNTIME_DIRECTORY"); dir != "" {
		return dir
	}
	return "/run/ostree-importd"
}

// idleTimeout honours the switch that systemd's own bus services have.
func idleTimeout() time.Duration {
	if os.Getenv("SYSTEMD_EXIT_ON_IDLE") == "0" {
		return 0
	}
	return 30 * time.Second
}

func (o *options) run(ctx context.Context) error {
	level, err := logrus.ParseLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("--log-level: %w", err)
	}
	log := systemd.NewLogger(level)

	// Nothing is reloaded yet, but a reload must not end the daemon either.
	signal.Ignore(syscall.SIGHUP)
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()

	open := setup.Provider(setup.Config{Repository: o.repository, Jobs: o.jobs, Log: log})
	manager, err := daemon.New(daemon.Config{
		Importer: func() (*importer.Importer, error) { return open(ctx) },
		StateDir: o.stateDir,
		Log:      log,
	})
	if err != nil {
		return err
	}
	server, err := dbus.NewServer(ctx, dbus.ServerConfig{
		Manager:     manager,
		Address:     o.busAddress(),
		IdleTimeout: o.idleTimeout,
		Notify:      func(states ...string) { notify(log, states...) },
		Version:     setup.Version,
		Repository:  o.repository,
		Log:         log,
	})
	if err != nil {
		return errors.Join(err, manager.Shutdown(ctx))
	}
	defer startWatchdog(ctx, manager.Ping)()
	return server.Run(ctx)
}

// startWatchdog pings the service manager until the returned function is
// called, also while running jobs are being stopped after ctx has ended.
func startWatchdog(ctx context.Context, ping func()) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	running.Go(func() { systemd.Watchdog(ctx, ping) })
	return func() {
		cancel()
		running.Wait()
	}
}

func (o *options) busAddress() string {
	if o.session {
		return "session"
	}
	if o.address != "" {
		return o.address
	}
	return "system"
}

func notify(log logrus.FieldLogger, states ...string) {
	if err := systemd.Notify(states...); err != nil {
		log.WithError(err).Warn("cannot tell systemd the state")
	}
}
