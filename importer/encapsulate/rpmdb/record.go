package rpmdb

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
)

// Kind says what a record of the child's answer is.
type Kind byte

// The kinds of records. A package's other records follow its KindPackage.
const (
	KindPackage Kind = 'P' // the name of a package
	KindBuilt   Kind = 'B' // when it was built, in seconds
	KindFile    Kind = 'F' // the path of a file
	KindChange  Kind = 'C' // when it was changed, in seconds
)

const (
	// maxAnswer bounds the child's answer, in bytes.
	maxAnswer = 128 << 20
	// maxRecord bounds one record of it, in bytes.
	maxRecord = 64 << 10
)

// WriteRecords writes the records of a package. Each is its kind and its value, and ends with NUL,
// which no string of a header has.
func (h Header) WriteRecords(out *bufio.Writer) error {
	record := func(kind Kind, value string) error {
		_, err := out.WriteString(string(rune(kind)) + value + "\x00")
		return err
	}
	if err := record(KindPackage, h.name); err != nil {
		return err
	}
	if err := record(KindBuilt, strconv.FormatUint(uint64(h.buildTime), 10)); err != nil {
		return err
	}
	for _, t := range h.changes {
		if err := record(KindChange, strconv.FormatUint(uint64(t), 10)); err != nil {
			return err
		}
	}
	return h.files(func(path string) error { return record(KindFile, path) })
}

// splitter is a writer that parts an answer into records.
type splitter struct {
	record func(kind Kind, value string) error
	rest   []byte // the beginning of a record
	size   int64  // of all that was written
	err    error  // the first error; nothing is taken after it
}

func (s *splitter) Write(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.split(p)
	}
	return len(p), s.err
}

func (s *splitter) split(p []byte) error {
	if s.size += int64(len(p)); s.size > maxAnswer {
		return fmt.Errorf("the database lists more than %d bytes of names", maxAnswer)
	}
	for len(p) > 0 {
		end := bytes.IndexByte(p, 0)
		ended := end >= 0
		if !ended {
			end = len(p)
		}
		s.rest = append(s.rest, p[:end]...)
		if len(s.rest) > maxRecord || ended && len(s.rest) == 0 {
			return fmt.Errorf("the database has an entry of %d bytes; 1 to %d are taken", len(s.rest), maxRecord)
		}
		if !ended {
			break
		}
		if err := s.record(Kind(s.rest[0]), string(s.rest[1:])); err != nil {
			return err
		}
		s.rest, p = s.rest[:0], p[end+1:]
	}
	return nil
}
