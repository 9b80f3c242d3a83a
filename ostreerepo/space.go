package ostreerepo

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// keepFree is what must stay free of a file system when content is written: a size, or else a
// percentage of the whole.
type keepFree struct {
	bytes   uint64
	percent uint64
}

// readKeepFree reads min-free-space-size and min-free-space-percent, of which the former counts
// when both are given.
func readKeepFree(core map[string]string) (keepFree, error) {
	keep := keepFree{percent: 3}
	if text, ok := core["min-free-space-percent"]; ok {
		percent, err := strconv.ParseUint(text, 10, 8)
		if err != nil || percent > 99 {
			return keepFree{}, fmt.Errorf("min-free-space-percent: %.20q is not a number from 0 to 99", text)
		}
		keep.percent = percent
	}
	if text, ok := core["min-free-space-size"]; ok {
		for unit, shift := range map[string]int{"MB": 20, "GB": 30, "TB": 40} {
			if number, ok := strings.CutSuffix(text, unit); ok {
				size, err := strconv.ParseUint(number, 10, 23)
				if err != nil {
					break
				}
				keep.bytes = size << shift
				return keep, nil
			}
		}
		return keepFree{}, fmt.Errorf("min-free-space-size: %.20q is not a number with MB, GB or TB", text)
	}
	return keep, nil
}

// checkSpace refuses content of size bytes that would leave less free than the repository's
// configuration asks for. libostree does the same for what it writes, but lets pass what is there
// already, as our files are when they land. Metadata is not counted. Holes count as if they were
// written: other programs fill them when they copy a file.
func (s *Staging) checkSpace(size int64) error {
	var stat unix.Statfs_t
	if err := unix.Fstatfs(s.objects, &stat); err != nil {
		return fmt.Errorf("free space: %w", err)
	}
	free, keep := s.repo.config.keepFree.of(stat)
	if free < keep || free-keep < uint64(size) {
		return fmt.Errorf("%w: a file of %d bytes does not fit into %d bytes, of which %d are kept free (see min-free-space-percent in ostree.repo-config(5))",
			ErrNoSpace, size, free, keep)
	}
	return nil
}

// of gives the free bytes of a file system, and how many of them are to stay free.
func (k keepFree) of(stat unix.Statfs_t) (free, keep uint64) {
	block := uint64(stat.Bsize)
	keep = k.bytes
	if keep == 0 {
		keep = stat.Blocks * k.percent / 100 * block
	}
	return stat.Bfree * block, keep
}

// Space tells how many bytes are free on the repository's file system, and how many of them its
// configuration keeps free.
func (r *Repo) Space() (free, keep uint64, err error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(r.path, &stat); err != nil {
		return 0, 0, fmt.Errorf("free space: %w", err)
	}
	free, keep = r.config.keepFree.of(stat)
	return free, keep, nil
}
