package daemon

import (
	"fmt"

	"github.com/ostree-importd/ostree-importd/importer"
)

// newError is an error of the job management itself; hint may be empty.
func newError(kind importer.Kind, hint, format string, args ...any) *importer.Error {
	return &importer.Error{Kind: kind, Hint: hint, Err: fmt.Errorf(format, args...)}
}
