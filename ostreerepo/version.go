package ostreerepo

import (
	"fmt"
	"regexp"
	"strconv"
)

// Version is that of the ostree command, for example 2022.7.
type Version struct {
	Year, Release int
}

// AtLeast reports whether v is the given version or a later one.
func (v Version) AtLeast(year, release int) bool {
	return v.Year > year || v.Year == year && v.Release >= release
}

// String returns for example "2022.7".
func (v Version) String() string {
	return fmt.Sprintf("%d.%d", v.Year, v.Release)
}

var versionLine = regexp.MustCompile(`Version: '?([0-9]{1,9})\.([0-9]{1,9})`)

// parseVersion reads the output of `ostree --version`.
func parseVersion(output string) (Version, error) {
	m := versionLine.FindStringSubmatch(output)
	if m == nil {
		return Version{}, fmt.Errorf("cannot find a version in the output of ostree --version: %.200q", output)
	}
	year, err := strconv.Atoi(m[1])
	if err != nil {
		return Version{}, err
	}
	release, err := strconv.Atoi(m[2])
	if err != nil {
		return Version{}, err
	}
	return Version{Year: year, Release: release}, nil
}
