package roottree

import (
	"encoding/binary"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// The extended attribute that holds an access control list, as linux/posix_acl_xattr.h defines it: a
// version, then entries of a tag, permissions and a user or group.
const (
	accessList  = "system.posix_acl_access"
	listVersion = 2
	listHeader  = 4 // bytes
	listEntry   = 8

	tagNamedUser   = 0x02
	tagOwningGroup = 0x04
	tagNamedGroup  = 0x08
	tagMask        = 0x10
)

// KeptMode returns the mode of a file or directory whose extended attributes are written only as far
// as keep takes them. With an access control list the group's bits of a mode are the most that any
// entry gives, so that leaving the list out would give the owning group as much, and give others what
// the list denies them by name. The mode that is returned gives nobody more than mode and list did.
func KeptMode(mode uint32, xattrs objects.Xattrs, keep KeepXattr) uint32 {
	for _, x := range xattrs {
		if x.Name == accessList && !keep(x.Name) {
			return withoutList(mode, x.Value)
		}
	}
	return mode
}

func withoutList(mode uint32, list []byte) uint32 {
	const all = 0o7
	if len(list) < listHeader || (len(list)-listHeader)%listEntry != 0 || binary.LittleEndian.Uint32(list) != listVersion {
		return mode &^ (all<<3 | all) // nobody can tell what it gives
	}
	// What the owning group has, what all who are named have, and what all named users have.
	group, named, users, mask := uint32(0), uint32(all), uint32(all), uint32(all)
	anyNamed := false
	for entry := list[listHeader:]; len(entry) > 0; entry = entry[listEntry:] {
		permissions := uint32(binary.LittleEndian.Uint16(entry[2:])) & all
		tag := binary.LittleEndian.Uint16(entry)
		anyNamed = anyNamed || tag == tagNamedUser || tag == tagNamedGroup
		switch tag {
		case tagNamedUser: // may be in the owning group
			users &= permissions
			named &= permissions
		case tagNamedGroup:
			named &= permissions
		case tagOwningGroup:
			group = permissions
		case tagMask:
			mask = permissions
		}
	}
	if anyNamed {
		named &= mask
	}
	return mode & (^uint32(all<<3|all) | group&users&mask<<3 | named)
}
