package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/dbus"
)

func jobsCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "jobs",
		Short: "List the daemon's jobs, recently finished ones included",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return s.withBus(cmd.Context(), func(client *dbus.Client) error {
				jobs, err := client.Jobs(cmd.Context())
				if err != nil {
					return err
				}
				if s.json {
					return printJSON(cmd.OutOrStdout(), append([]daemon.JobStatus{}, jobs...))
				}
				rows := make([][]string, 0, len(jobs))
				for _, job := range jobs {
					rows = append(rows, []string{
						strconv.FormatUint(job.ID, 10), string(job.Type), stateText(job), since(job.Started), job.Image, outcome(job),
					})
				}
				return table(cmd.OutOrStdout(), []string{"JOB", "TYPE", "STATE", "STARTED", "IMAGE", "STATUS"}, rows)
			})
		},
	}
}

// stateText is the state of a job, or how it ended.
func stateText(job daemon.JobStatus) string {
	if job.State == daemon.StateFinished {
		return string(job.Result)
	}
	return string(job.State)
}

// outcome is what there is to say of a job in one line.
func outcome(job daemon.JobStatus) string {
	if job.Result == daemon.ResultFailed {
		return job.ErrorMessage
	}
	return job.StatusText
}

func cancelCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "cancel JOB",
		Short: "Stop one of the daemon's jobs",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			id, err := strconv.ParseUint(args[0], 10, 64)
			if err != nil {
				return usageError{fmt.Errorf("%q is not the number of a job; see ostree-importctl jobs", args[0])}
			}
			return s.withBus(cmd.Context(), func(client *dbus.Client) error {
				return client.Cancel(cmd.Context(), id)
			})
		},
	}
}

func monitorCommand(s *settings) *cobra.Command {
	return &cobra.Command{
		Use:   "monitor",
		Short: "Follow the daemon's jobs until interrupted",
		Long: `Follow the daemon's jobs until interrupted.

With --json each line is one JSON document. What only looks something up,
such as prepare and diff, is not among the jobs. The verb neither starts the
daemon nor keeps it from its idle exit.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := context.WithCancel(cmd.Context())
			defer stop()
			return s.withBus(ctx, func(client *dbus.Client) error {
				var unprinted error
				err := client.Watch(ctx, func(event daemon.Event) {
					if unprinted = printEvent(cmd.OutOrStdout(), event, s.json); unprinted != nil {
						stop()
					}
				})
				return cmp.Or(unprinted, err)
			})
		},
	}
}

// printEvent writes what happened. Its errors are those of w.
func printEvent(w io.Writer, event daemon.Event, asJSON bool) (err error) {
	if asJSON {
		return printJSONLine(w, event)
	}
	switch event.Type {
	case daemon.JobNew:
		_, err = fmt.Fprintf(w, "job %d: %s %s\n", event.Job.ID, event.Job.Type, printable(event.Job.Image))
	case daemon.JobChanged:
		_, err = fmt.Fprintf(w, "job %d: %s\n", event.Job.ID, printable(event.Job.StatusText))
	case daemon.JobFinished:
		_, err = fmt.Fprintf(w, "job %d: %s\n", event.Job.ID, printable(finishText(event.Job)))
	case daemon.ImagesChanged:
		err = printImageChanges(w, event.Images)
	}
	return err
}

// printImageChanges writes one line per image.
func printImageChanges(w io.Writer, changes daemon.ImageChanges) error {
	for _, change := range []struct {
		what  string
		names []string
	}{{"new", changes.Added}, {"changed", changes.Changed}, {"gone", changes.Removed}} {
		for _, name := range change.names {
			if _, err := fmt.Fprintf(w, "image %s: %s\n", printable(name), change.what); err != nil {
				return err
			}
		}
	}
	return nil
}

// finishText says how a job ended.
func finishText(job daemon.JobStatus) string {
	switch {
	case job.ErrorMessage != "":
		return fmt.Sprintf("%s: %s", job.Result, job.ErrorMessage)
	case job.Import != nil && job.Import.Commit != "":
		return fmt.Sprintf("%s: commit %s", job.Result, job.Import.Commit)
	}
	return string(job.Result)
}
