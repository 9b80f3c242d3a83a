package importer

import (
	"fmt"
	"runtime"

	"github.com/ostree-importd/ostree-importd/importer/document"
)

// checkRequirements refuses an image that is not what the request says it must be.
func checkRequirements(req Request, c *document.Config) error {
	if req.RequireBootable && !c.Bootable() {
		return &Error{
			Kind: KindNotBootable, Stage: StageConfig,
			Err:  fmt.Errorf("the image has neither the label %s nor %s, so it is not one that a host boots from", document.LabelBootable, document.LabelBootc),
			Hint: "import it without --require-bootable if it need not boot",
		}
	}
	want := req.Architecture
	if want == "" && req.RequireBootable {
		want = runtime.GOARCH
	}
	if want != "" && c.Architecture != want {
		return &Error{
			Kind: KindWrongArchitecture, Stage: StageConfig,
			Err: fmt.Errorf("the image is for the architecture %.100q, want %q", c.Architecture, want),
		}
	}
	return nil
}
