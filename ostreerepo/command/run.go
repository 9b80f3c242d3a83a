package command

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// pipeBuffer is how much is written to a program at once, in bytes.
const pipeBuffer = 256 << 10

// Run runs a program to its end and returns the end of its standard output. feed, if not nil,
// writes its standard input; Command.Stdin must be nil then. When ctx ends or feed fails the
// program gets SIGTERM, later SIGKILL, and that is the error. Other errors are those of Start and
// Process.Wait.
func Run(ctx context.Context, c Command, feed func(io.Writer) error) (string, error) {
	if ctx.Err() != nil {
		return "", fmt.Errorf("%s: %w", c.name(), context.Cause(ctx))
	}
	var input *os.File
	if feed != nil {
		r, w, err := os.Pipe()
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.name(), err)
		}
		defer w.Close()
		defer r.Close()
		c.Stdin, input = r, w
	}
	p, err := Start(c)
	if err != nil {
		return "", fmt.Errorf("%s: %w", c.name(), err)
	}
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(ctx, p.Stop)
	var fed error
	if feed != nil {
		c.Stdin.Close() // so that writing fails when the program is gone
		fed = p.feed(input, feed, cancel)
	}
	err = p.Wait()
	stopped := ctx.Err() != nil
	stop()
	cancel()
	switch {
	case err != nil && errors.Is(fed, unix.EPIPE): // the program says why it did not read on
	case fed != nil:
		return "", fed
	case stopped:
		return "", fmt.Errorf("%s: %w", c.name(), context.Cause(ctx))
	}
	return p.stdout.String(), err
}

// feed writes the standard input of the program. Unless the program has stopped reading, an error
// is not its doing: then stop is called, before the program can take the end of the input for the
// end of the data. A program need not read on behind the end of what it needs, so that what was
// not yet flushed may stay unread.
func (p *Process) feed(w *os.File, feed func(io.Writer) error, stop func()) error {
	buffered := bufio.NewWriterSize(w, pipeBuffer)
	err := feed(buffered)
	if err == nil {
		if err = buffered.Flush(); err == nil || errors.Is(err, unix.EPIPE) {
			return w.Close()
		}
	}
	if !errors.Is(err, unix.EPIPE) {
		stop()
		<-p.exited
	}
	return err
}
