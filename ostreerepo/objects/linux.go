package objects

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// The extended attributes whose values Linux reads itself. It refuses those that it cannot read.
const (
	XattrCapability = "security.capability"
	XattrAccessACL  = "system.posix_acl_access"
	XattrDefaultACL = "system.posix_acl_default"
)

// Bounds of Linux for the name and the value of an extended attribute, in bytes: linux/limits.h.
const (
	MaxXattrName  = 255
	MaxXattrValue = 64 << 10
)

// CheckLinux returns nil if Linux can give all of x to a file or directory with this mode, whatever
// the file system. The error names the attribute and says what is wrong with it. Attributes with an
// empty value pass, because no object has them.
func (x Xattrs) CheckLinux(mode uint32) error {
	for _, attr := range x {
		if len(attr.Value) == 0 {
			continue
		}
		if err := attr.checkLinux(mode & modeType); err != nil {
			return fmt.Errorf("the extended attribute %.200q: %w", attr.Name, err)
		}
	}
	return nil
}

// checkLinux checks one attribute of a file that has this type.
func (x Xattr) checkLinux(fileType uint32) error {
	isACL := x.Name == XattrAccessACL || x.Name == XattrDefaultACL
	switch {
	case len(x.Name) > MaxXattrName:
		return fmt.Errorf("the name has %d bytes, more than %d", len(x.Name), MaxXattrName)
	case len(x.Value) > MaxXattrValue:
		return fmt.Errorf("the value has %d bytes, more than %d", len(x.Value), MaxXattrValue)
	case fileType == modeSymlink && (isACL || strings.HasPrefix(x.Name, "user.")):
		return errors.New("a symbolic link cannot have it")
	case x.Name == XattrCapability:
		return checkCapability(x.Value)
	case !isACL:
		return nil
	}
	list, err := ParseACL(x.Value)
	if err == nil && x.Name == XattrDefaultACL && fileType != modeDirectory && len(list) > 0 {
		return errors.New("only a directory can have a default access control list")
	}
	return err
}

// The serialised file capabilities, as linux/capability.h defines them (vfs_cap_data,
// vfs_ns_cap_data): revision and flags, two masks in two halves each, and in revision 3 a user.
const (
	capabilityRevision2 = 0x02000000
	capabilityRevision3 = 0x03000000
	capabilityEffective = 0x00000001 // the only flag
	capabilitySize2     = 20         // bytes
	capabilitySize3     = 24         // bytes
	capabilityRootID    = 20         // where the user of revision 3 stands

	noID = 1<<32 - 1 // of no user and no group
)

func checkCapability(b []byte) error {
	if len(b) < 4 {
		return fmt.Errorf("the value has %d bytes, too few for the revision of capabilities", len(b))
	}
	size := 0
	switch revision := binary.LittleEndian.Uint32(b) &^ capabilityEffective; revision {
	case capabilityRevision2:
		size = capabilitySize2
	case capabilityRevision3:
		size = capabilitySize3
	default:
		return fmt.Errorf("its revision and flags are %#08x: Linux takes revisions 2 and 3", revision)
	}
	if len(b) != size {
		return fmt.Errorf("the value has %d bytes, and capabilities of its revision have %d", len(b), size)
	}
	if size == capabilitySize3 && binary.LittleEndian.Uint32(b[capabilityRootID:]) == noID {
		return errors.New("the user of the capabilities is 4294967295, which is none")
	}
	return nil
}

// The tags of an access control list's entries, in the order in which they stand.
const (
	ACLOwner       = 0x01
	ACLUser        = 0x02 // of the user with the entry's ID
	ACLOwningGroup = 0x04
	ACLGroup       = 0x08 // of the group with the entry's ID
	ACLMask        = 0x10
	ACLOther       = 0x20
)

// A serialised access control list: a version, then entries of a tag, permissions and an ID.
const (
	aclVersion = 2
	aclHeader  = 4 // bytes
	aclEntry   = 8
)

// ACLEntry is an entry of an access control list. Permissions are three bits, as for one class of
// users in a mode. ID is meant only with the tags ACLUser and ACLGroup.
type ACLEntry struct {
	Tag, Permissions uint16
	ID               uint32
}

// ParseACL reads an access control list in the form of linux/posix_acl_xattr.h and refuses it where
// Linux does. A list without entries stands for none.
func ParseACL(b []byte) ([]ACLEntry, error) {
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntry != 0 {
		return nil, fmt.Errorf("an access control list cannot have %d bytes", len(b))
	}
	if version := binary.LittleEndian.Uint32(b); version != aclVersion {
		return nil, fmt.Errorf("the access control list has version %d, and Linux takes %d", version, aclVersion)
	}
	var list []ACLEntry
	for b = b[aclHeader:]; len(b) > 0; b = b[aclEntry:] {
		list = append(list, ACLEntry{
			Tag: binary.LittleEndian.Uint16(b), Permissions: binary.LittleEndian.Uint16(b[2:]),
			ID: binary.LittleEndian.Uint32(b[4:]),
		})
	}
	return list, checkACL(list)
}

// checkACL checks each entry, and that each tag stands at its place: those of the three classes of
// a mode once, and the mask once where a user or group is named.
func checkACL(list []ACLEntry) error {
	if len(list) == 0 {
		return nil
	}
	count := make(map[uint16]int)
	last := uint16(0)
	for i, entry := range list {
		named := entry.Tag == ACLUser || entry.Tag == ACLGroup
		switch {
		case !isACLTag(entry.Tag):
			return fmt.Errorf("entry %d of the access control list has the unknown tag %#x", i+1, entry.Tag)
		case entry.Permissions > 7:
			return fmt.Errorf("entry %d of the access control list has the permissions %#o", i+1, entry.Permissions)
		case named && entry.ID == noID:
			return fmt.Errorf("entry %d of the access control list names no user or group", i+1)
		case entry.Tag < last:
			return fmt.Errorf("entry %d of the access control list is out of order", i+1)
		case entry.Tag == last && !named:
			return fmt.Errorf("entry %d of the access control list repeats the one before it", i+1)
		}
		last = entry.Tag
		count[entry.Tag]++
	}
	switch {
	case count[ACLOwner] == 0 || count[ACLOwningGroup] == 0 || count[ACLOther] == 0:
		return errors.New("the access control list lacks an entry for the owner, the group or others")
	case count[ACLMask] == 0 && count[ACLUser]+count[ACLGroup] > 0:
		return errors.New("the access control list names users or groups, and has no mask")
	}
	return nil
}

func isACLTag(tag uint16) bool {
	switch tag {
	case ACLOwner, ACLUser, ACLOwningGroup, ACLGroup, ACLMask, ACLOther:
		return true
	}
	return false
}

// Canonical returns h as Linux gives it back when a file is made of it: all repository modes store
// that, so that the checksum is the same in each. Extended attributes are put in order as by
// Xattrs.Canonical. File capabilities of revision 3 for the user 0 become revision 2, IDs in access
// control lists become 4294967295 where they mean nothing, and an access list sets the mode's nine
// bits: the group's are its mask where it has one. A list that says no more than the mode goes. It
// fails for attributes that Linux never takes.
func (h FileHeader) Canonical() (FileHeader, error) {
	var err error
	h.Mode, h.Xattrs, err = canonicalForLinux(h.Mode, h.Xattrs)
	return h, err
}

// Canonical does for a directory what FileHeader.Canonical does for a file.
func (m DirMeta) Canonical() (DirMeta, error) {
	var err error
	m.Mode, m.Xattrs, err = canonicalForLinux(m.Mode, m.Xattrs)
	return m, err
}

func canonicalForLinux(mode uint32, x Xattrs) (uint32, Xattrs, error) {
	if x = x.Canonical(); len(x) == 0 {
		return mode, nil, nil
	}
	if err := x.CheckLinux(mode); err != nil {
		return 0, nil, err
	}
	kept := make(Xattrs, 0, len(x))
	for _, attr := range x {
		switch attr.Name {
		case XattrCapability:
			attr.Value = canonicalCapability(attr.Value)
		case XattrAccessACL, XattrDefaultACL:
			list, err := ParseACL(attr.Value)
			if err != nil {
				return 0, nil, err
			}
			if attr.Name == XattrAccessACL {
				mode, list = applyACL(mode, list)
			}
			if attr.Value = marshalACL(list); len(list) == 0 {
				continue
			}
		}
		kept = append(kept, attr)
	}
	if len(kept) == 0 {
		return mode, nil, nil
	}
	return mode, kept, nil
}

// canonicalCapability returns valid capabilities as the root of the host reads them.
func canonicalCapability(b []byte) []byte {
	if len(b) != capabilitySize3 || binary.LittleEndian.Uint32(b[capabilityRootID:]) != 0 {
		return b
	}
	flags := binary.LittleEndian.Uint32(b) & capabilityEffective
	short := binary.LittleEndian.AppendUint32(nil, capabilityRevision2|flags)
	return append(short, b[len(short):capabilitySize2]...)
}

// applyACL returns the mode of a file that gets an access list, and the list that it then has: none
// where the mode says as much.
func applyACL(mode uint32, list []ACLEntry) (uint32, []ACLEntry) {
	if len(list) == 0 {
		return mode, nil
	}
	const all = 7
	says := true // the mode says all that the list does
	for _, entry := range list {
		bits := uint32(entry.Permissions)
		switch entry.Tag {
		case ACLOwner:
			mode = mode&^(all<<6) | bits<<6
		case ACLOwningGroup, ACLMask: // the mask comes later
			mode = mode&^(all<<3) | bits<<3
		case ACLOther:
			mode = mode&^all | bits
		}
		says = says && (entry.Tag == ACLOwner || entry.Tag == ACLOwningGroup || entry.Tag == ACLOther)
	}
	if says {
		return mode, nil
	}
	return mode, list
}

func marshalACL(list []ACLEntry) []byte {
	b := binary.LittleEndian.AppendUint32(nil, aclVersion)
	for _, entry := range list {
		if entry.Tag != ACLUser && entry.Tag != ACLGroup {
			entry.ID = noID
		}
		b = binary.LittleEndian.AppendUint16(b, entry.Tag)
		b = binary.LittleEndian.AppendUint16(b, entry.Permissions)
		b = binary.LittleEndian.AppendUint32(b, entry.ID)
	}
	return b
}
