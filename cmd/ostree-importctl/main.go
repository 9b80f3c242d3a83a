package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/cmd/internal/setup"
	"github.com/ostree-importd/ostree-importd/cmd/internal/stdout"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb/child"
)

func main() {
	child.Run()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the default comes back: a second one ends the
	// command at once. While a job of the daemon is stopped, cancelJob waits for it.
	context.AfterFunc(ctx, stop)
	err := execute(ctx, os.Args[1:], os.Stdout)
	if err != nil && !errors.Is(err, errNothingNew) {
		fmt.Fprintf(os.Stderr, "ostree-importctl: %v\n", err)
	}
	os.Exit(exitCode(err))
}

// execute runs the command line args and closes out, its standard output. What
// cobra refuses before a verb's work begins is an error of usage. A success that
// could not be printed is none.
func execute(ctx context.Context, args []string, out io.WriteCloser) error {
	checked := stdout.New(out)
	err := run(ctx, args, checked)
	unprinted := checked.Close()
	if err == nil || errors.Is(err, errNothingNew) || errors.As(err, new(*stdout.Error)) {
		return cmp.Or(unprinted, err)
	}
	return err
}

func run(ctx context.Context, args []string, out *stdout.Writer) error {
	root := rootCommand()
	begun := false
	for _, verb := range root.Commands() {
		if work := verb.RunE; work != nil {
			verb.RunE = func(cmd *cobra.Command, args []string) error {
				begun = true
				return work(cmd, args)
			}
		}
	}
	root.SetArgs(args)
	root.SetOut(out)
	verb, err := root.ExecuteContextC(ctx)
	if err != nil && !begun {
		err = usageError{err}
	}
	printFailure(out, root, verb, args, err)
	return err
}

// settings are the options before the verb.
type settings struct {
	system, session, local, json, quiet, verbose bool
	noAskPassword                                bool
	address, repository                          string
	memory                                       int // MiB; 0: the default
}

func rootCommand() *cobra.Command {
	var s settings
	root := &cobra.Command{
		Use:           "ostree-importctl",
		Short:         "Pull container images into an OSTree repository",
		Version:       setup.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	flags := root.PersistentFlags()
	flags.BoolVar(&s.system, "system", false, "talk to the daemon on the system bus (default)")
	flags.BoolVar(&s.session, "session", false, "talk to a daemon on the session bus")
	flags.StringVar(&s.address, "address", "", "talk to a daemon on the bus at this `address`")
	flags.BoolVar(&s.local, "local", false, "do the work in this process, without bus or daemon")
	flags.StringVar(&s.repository, "repo", "", "`path` of the repository, with --local (default "+setup.DefaultRepository()+")")
	flags.IntVar(&s.memory, "memory", 0, fmt.Sprintf("`MiB` of memory that all work on images shares, with --local (default %d)", setup.DefaultMemory))
	flags.BoolVar(&s.json, "json", false, "print one JSON document on standard output")
	flags.BoolVar(&s.noAskPassword, "no-ask-password", false, "be refused rather than asked for a password")
	flags.BoolVarP(&s.quiet, "quiet", "q", false, "show no progress")
	flags.BoolVarP(&s.verbose, "verbose", "v", false, "log what happens, with --local")
	root.MarkFlagsMutuallyExclusive("system", "session", "address", "local")
	root.AddCommand(
		initCommand(&s), pullCommand(&s), prepareCommand(&s),
		imagesCommand(&s), showCommand(&s), historyCommand(&s), diffCommand(&s),
		removeCommand(&s), forgetCommand(&s), gcCommand(&s), verifyCommand(&s),
		copyCommand(&s), exportCommand(&s), encapsulateCommand(&s), unencapsulateCommand(&s),
		jobsCommand(&s), cancelCommand(&s), monitorCommand(&s),
	)
	return root
}

// exactly, atLeast and between are cobra's checks of the number of arguments
// with errors that say what to do.

func exactly(n int) cobra.PositionalArgs { return checkArguments(n, n, arguments(n)) }

func atLeast(n int) cobra.PositionalArgs {
	return checkArguments(n, math.MaxInt, "at least "+arguments(n))
}

func between(low, high int) cobra.PositionalArgs {
	return checkArguments(low, high, fmt.Sprintf("%d to %s", low, arguments(high)))
}

func checkArguments(low, high int, wanted string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < low || len(args) > high {
			return fmt.Errorf("%s takes %s, not %d; see ostree-importctl %s --help", cmd.Name(), wanted, len(args), cmd.Name())
		}
		return nil
	}
}

func arguments(n int) string {
	switch n {
	case 0:
		return "no arguments"
	case 1:
		return "one argument"
	}
	return fmt.Sprintf("%d arguments", n)
}
