package ostreerepo

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Causes that a caller may branch on. They are wrapped with what was being done; use errors.Is.
var (
	// ErrNotRepository says that a path holds no OSTree repository.
	ErrNotRepository = errors.New("not an OSTree repository")
	// ErrNoRef says that a ref does not exist.
	ErrNoRef = errors.New("no such ref")
	// ErrNoObject says that the repository lacks an object.
	ErrNoObject = errors.New("no such object")
	// ErrCorrupted says that a file of the repository does not hold what its name promises.
	ErrCorrupted = errors.New("the repository is corrupted")
	// ErrMismatch says that an object does not have the checksum that it is said to have.
	ErrMismatch = errors.New("the object has another checksum")
	// ErrInvalid says that an object is not what its kind or the repository's mode allows.
	ErrInvalid = errors.New("the object is not valid")
	// ErrNotKept says that a file of a bare repository, once written, does not have the owner, mode
	// or extended attributes that it was given.
	ErrNotKept = errors.New("the repository's file system does not keep what the file was given")
	// ErrToolMissing says that the ostree command can't be found.
	ErrToolMissing = errors.New("the ostree command is missing")
	// ErrNoSpace says that the repository's file system, or a quota, is full, or as full as the
	// repository's configuration allows.
	ErrNoSpace = errors.New("not enough free space for the repository")
	// ErrReadOnly says that the repository is on a file system that is mounted read-only.
	ErrReadOnly = errors.New("the repository is read-only")
)

// withCause adds the sentinel that belongs to a system call's error, be it ours or a command's.
func withCause(err error) error {
	switch {
	case errors.Is(err, ErrNoSpace), errors.Is(err, ErrReadOnly):
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}
