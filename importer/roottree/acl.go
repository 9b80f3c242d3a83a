package roottree

import "github.com/ostree-importd/ostree-importd/ostreerepo/objects"

// KeptMode returns the mode of a file or directory whose extended attributes are written only as
// far as keep takes them. With an access control list the group's bits of a mode are the most that
// any entry gives, so that leaving the list out would give the owning group as much, and give
// others what the list denies them by name. The mode that is returned gives nobody more than mode
// and list did.
func KeptMode(mode uint32, xattrs objects.Xattrs, keep KeepXattr) uint32 {
	for _, x := range xattrs {
		if x.Name == objects.XattrAccessACL && !keep(x.Name) {
			return withoutList(mode, x.Value)
		}
	}
	return mode
}

func withoutList(mode uint32, value []byte) uint32 {
	const all = 0o7
	list, err := objects.ParseACL(value)
	if err != nil {
		return mode &^ (all<<3 | all) // nobody can tell what it gives
	}
	if len(list) == 0 { // it stands for none
		return mode
	}
	// What the owning group has, what all who are named have, and what all named users have.
	group, named, users, mask := uint32(0), uint32(all), uint32(all), uint32(all)
	anyNamed := false
	for _, entry := range list {
		permissions := uint32(entry.Permissions)
		anyNamed = anyNamed || entry.Tag == objects.ACLUser || entry.Tag == objects.ACLGroup
		switch entry.Tag {
		case objects.ACLUser: // may be in the owning group
			users &= permissions
			named &= permissions
		case objects.ACLGroup:
			named &= permissions
		case objects.ACLOwningGroup:
			group = permissions
		case objects.ACLMask:
			mask = permissions
		}
	}
	if anyNamed {
		named &= mask
	}
	return mode & (^uint32(all<<3|all) | group&users&mask<<3 | named)
}
