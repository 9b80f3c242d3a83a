package objects

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxName is the longest file name that Linux file systems hold, in bytes.
const maxName = 255

// ValidName returns nil if name can be an entry of a directory in an OSTree commit, and otherwise
// an error that says why not.
func ValidName(name string) error {
	switch {
	case name == "":
		return errors.New("a file name is empty")
	case name == "." || name == "..":
		return fmt.Errorf("%q is not a file name", name)
	case len(name) > maxName:
		return fmt.Errorf("a file name is %d bytes long, more than %d", len(name), maxName)
	case strings.ContainsAny(name, "/\x00"):
		return fmt.Errorf("the file name %q contains a slash or a NUL", name)
	case !utf8.ValidString(name):
		return fmt.Errorf("the file name %q is not UTF-8, which OSTree requires", name)
	}
	return nil
}
