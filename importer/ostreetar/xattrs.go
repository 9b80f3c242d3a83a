package ostreetar

import (
	"bytes"
	"fmt"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

const (
	maxXattrs    = 1 << 20  // bytes of the extended attributes of a file
	maxXattrSets = 64 << 20 // bytes that those of a layer take which differ
	xattrSetSize = 256      // bytes that such a set takes without its data
	xattrSize    = 64       // bytes that an attribute takes without its name and value
)

// xattrSets are the extended attributes of a layer's files, by the checksum of their serialised form. Files of a system have few that
// differ.
type xattrSets struct {
	sets map[objects.Checksum]objects.Xattrs
	kept int
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
		x.sets = make(map[objects.Checksum]objects.Xattrs)
	}
	x.sets[c] = set
	return c, nil
}
