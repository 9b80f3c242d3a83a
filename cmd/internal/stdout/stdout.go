// Package stdout writes a command's standard output so that no failed write goes unnoticed.
//
// Verbs print by many small writes, through cobra, tabwriter and fmt, some of which drop errors. A
// Writer remembers the first one, and the command asks for it at its end. A reader that leaves, as
// head does, is no such error: SIGPIPE ends the command then.
package stdout

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Error says that standard output could not be written.
type Error struct{ Err error }

// Error names the cause.
func (e *Error) Error() string { return fmt.Sprintf("cannot write to standard output: %v", e.Err) }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Writer writes to a file until a write fails. All later writes fail with the same error. It is for
// one goroutine at a time.
type Writer struct {
	file    io.WriteCloser
	written bool
	err     error
}

// New makes a Writer for a file, which Close closes.
func New(file io.WriteCloser) *Writer { return &Writer{file: file} }

// Write implements io.Writer. Its errors are *Error.
func (w *Writer) Write(p []byte) (int, error) {
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.file.Write(p)
	w.written = w.written || n > 0
	if err != nil {
		w.err = &Error{err}
	}
	return n, w.err
}

// Written reports whether anything has been written.
func (w *Writer) Written() bool { return w.written }

// Columns is the width of the terminal that is written to; 0 if it is none.
func (w *Writer) Columns() int {
	file, is := w.file.(*os.File)
	if !is {
		return 0
	}
	columns, _, err := term.GetSize(int(file.Fd()))
	if err != nil {
		return 0
	}
	return columns
}

// Close ends the output and returns the error of the first write that failed, an *Error. Some file
// systems tell only now that what was written is lost.
func (w *Writer) Close() error {
	err := w.file.Close()
	if w.err == nil && w.written && err != nil {
		w.err = &Error{err}
	}
	return w.err
}
