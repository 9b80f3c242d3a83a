package proxyclient

import (
	"fmt"
	"strconv"
	"strings"
)

// Version is the protocol version that the proxy reports.
type Version struct{ Major, Minor, Patch int }

func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// EnforcesPolicy tells whether a proxy of this version obeys the signature
// policy. Those before 0.2.6 (skopeo 1.13) let every image through.
func (v Version) EnforcesPolicy() bool { return v.Patch >= 6 }

func (v Version) hasOpenOptional() bool   { return v.Patch >= 4 }
func (v Version) hasLayerInfo() bool      { return v.Patch >= 5 }
func (v Version) hasLayerInfoPiped() bool { return v.Patch >= 7 }
func (v Version) hasRawBlob() bool        { return v.Patch >= 8 }
func (v Version) supported() bool         { return v.Major == 0 && v.Minor == 2 && v.Patch >= 3 }
func unsupportedVersion(text string) *Error {
	return &Error{Class: ClassUnsupported, Op: "Initialize",
		Message: fmt.Sprintf("the image proxy speaks protocol %q, but 0.2.3 or a later 0.2 is needed: install skopeo 1.6 or later", printable(text))}
}

// parseVersion reads "MAJOR.MINOR.PATCH"; what follows a "-" or "+" is ignored.
func parseVersion(text string) (Version, error) {
	core := text
	if i := strings.IndexAny(core, "-+"); i >= 0 {
		core = core[:i]
	}
	parts := strings.Split(core, ".")
	if len(parts) != 3 {
		return Version{}, unsupportedVersion(text)
	}
	var numbers [3]int
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 16)
		if err != nil {
			return Version{}, unsupportedVersion(text)
		}
		numbers[i] = int(n)
	}
	v := Version{Major: numbers[0], Minor: numbers[1], Patch: numbers[2]}
	if !v.supported() {
		return Version{}, unsupportedVersion(text)
	}
	return v, nil
}
