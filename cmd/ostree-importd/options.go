package main

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/dbus"
)

type options struct {
	system, session, introspect, remount    bool
	address, repository, stateDir, logLevel string
	idleTimeout                             time.Duration
	jobs, memory                            int
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
				_, err := fmt.Fprint(cmd.OutOrStdout(), dbus.Introspection())
				return err
			}
			return o.run(cmd.Context())
		},
	}
	flags := cmd.Flags()
	flags.BoolVar(&o.system, "system", false, "serve on the system bus (default)")
	flags.BoolVar(&o.session, "session", false, "serve on the session bus")
	flags.StringVar(&o.address, "address", "", "serve on the bus at this `address`")
	flags.StringVar(&o.repository, "repo", "", "`path` of the repository (default: /ostree/repo, or /sysroot/ostree/repo where only that one exists)")
	flags.BoolVar(&o.remount, "remount-sysroot", false, "make a read-only /sysroot, and the repository, writable; only for a mount namespace of the daemon's own")
	flags.StringVar(&o.stateDir, "state-dir", stateDir(), "`directory` for job numbers, job results and prepared images")
	flags.DurationVar(&o.idleTimeout, "idle-timeout", idleTimeout(), "leave after this `time` without calls and jobs; 0: never")
	flags.StringVar(&o.logLevel, "log-level", "info", "`level` of messages: error, warning, info, debug")
	flags.IntVar(&o.jobs, "jobs", 0, "fetch this `number` of an image's layers at once (default: the program's choice)")
	flags.IntVar(&o.memory, "memory", setup.DefaultMemory, "`MiB` of memory that all work on images shares")
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

func (o *options) busAddress() string {
	if o.session {
		return "session"
	}
	if o.address != "" {
		return o.address
	}
	return "system"
}
