package ostreetar

import (
	"bytes"
	"fmt"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	maxXattrs    = 1 << 20  // bytes of the extended attributes of a file
	maxXattrSets = 64 << 20 // bytes that those of a layer take which differ
	maxXattrSum  = 1 << 30  // bytes of those of all files of a layer together: a link of some bytes stands for up to maxXattrs
	xattrSetSize = 256      // bytes that such a set takes without its data
	xattrSize    = 64       // bytes that an attribute takes without its name and value
)

// xattrSets are the extended attributes of a layer's files, by the checksum of their serialised
// form. Files of a system have few that differ.
type xattrSets struct {
	sets map[objects.Checksum]xattrSet
	kept int
	sum  int // bytes of those of the files so far
}

// xattrSet is the extended attributes of some files.
type xattrSet struct {
	objects.Xattrs
	size int // of the serialised form, in bytes
}

// add remembers serialised attributes. It does not keep b.
func (x *xattrSets) add(b []byte) (objects.Checksum, error) {
	c := objects.ChecksumOf(b)
	if _, known := x.sets[c]; known {
		return c, nil
	}
	set, err := objects.ParseXattrs(bytes.Clone(b))
	if err != nil {
		return objects.Checksum{}, err
	}
	if x.kept += len(b) + xattrSetSize + xattrSize*len(set); x.kept > maxXattrSets {
		return objects.Checksum{}, fmt.Errorf("the extended attributes of the layer's files take more than %d MiB", maxXattrSets>>20)
	}
	if x.sets == nil {
		x.sets = make(map[objects.Checksum]xattrSet)
	}
	x.sets[c] = xattrSet{set, len(b)}
	return c, nil
}

// take gives the attributes of a file that is to be written.
func (x *xattrSets) take(c objects.Checksum) (objects.Xattrs, error) {
	set, known := x.sets[c]
	if !known {
		return nil, fmt.Errorf("a hard link to extended attributes that are not in the layer before it: %s", c)
	}
	if x.sum += set.size; x.sum > maxXattrSum {
		return nil, fmt.Errorf("the extended attributes of all files of the layer have more than %d MiB together", maxXattrSum>>20)
	}
	return set.Xattrs, nil
}
