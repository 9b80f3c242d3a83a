package roottree

import (
	"encoding/binary"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// list makes an access control list of tags and permissions.
func list(entries ...uint16) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 2)
	for ; len(entries) > 0; entries = entries[2:] {
		b = binary.LittleEndian.AppendUint16(b, entries[0])
		b = binary.LittleEndian.AppendUint16(b, entries[1])
		b = binary.LittleEndian.AppendUint32(b, 1000)
	}
	return b
}

func TestKeptMode(t *testing.T) {
	const (
		owner, tagNamedUser, tagOwningGroup = objects.ACLOwner, objects.ACLUser, objects.ACLOwningGroup
		tagNamedGroup, tagMask, other       = objects.ACLGroup, objects.ACLMask, objects.ACLOther
	)
	for _, test := range []struct {
		name string
		mode uint32
		list []byte
		want uint32
	}{
		{"the mask's bits are not the group's", 0o660, list(owner, 6, tagNamedUser, 6, tagOwningGroup, 0, tagMask, 6, other, 0), 0o600},
		{"the group has some", 0o674, list(owner, 6, tagNamedUser, 7, tagOwningGroup, 4, tagMask, 7, other, 4), 0o644},
		{"the mask takes some of the group's", 0o640, list(owner, 6, tagNamedUser, 6, tagOwningGroup, 7, tagMask, 4, other, 0), 0o640},
		{"the mode is narrower than the mask", 0o600, list(owner, 6, tagOwningGroup, 6, tagNamedGroup, 6, tagMask, 6, other, 0), 0o600},
		{"a user is denied", 0o775, list(owner, 7, tagNamedUser, 0, tagOwningGroup, 7, tagMask, 7, other, 5), 0o700},
		{"a user is denied by the mask", 0o704, list(owner, 7, tagNamedUser, 7, tagOwningGroup, 7, tagMask, 0, other, 4), 0o700},
		{"a group is denied", 0o775, list(owner, 7, tagOwningGroup, 7, tagNamedGroup, 1, tagMask, 7, other, 5), 0o771},
		{"nobody is named", 0o754, list(owner, 7, tagOwningGroup, 5, other, 4), 0o754},
		{"a mask for nobody but the group", 0o704, list(owner, 7, tagOwningGroup, 5, tagMask, 0, other, 4), 0o704},
		{"special bits stay", 0o6775, list(owner, 7, tagNamedUser, 7, tagOwningGroup, 5, tagMask, 7, other, 5), 0o6755},
		{"no list", 0o755, []byte{2, 0, 0, 0, 1}, 0o700},
		{"a list of nothing", 0o775, list(), 0o775},
		{"one that Linux refuses", 0o775, list(owner, 7, owner, 7, tagOwningGroup, 7, other, 5), 0o700},
		{"another version", 0o755, binary.LittleEndian.AppendUint32(nil, 3), 0o700},
	} {
		t.Run(test.name, func(t *testing.T) {
			xattrs := objects.Xattrs{{Name: "security.x"}, {Name: objects.XattrAccessACL, Value: test.list}}
			mode := 0o100000 | test.mode
			if got := KeptMode(mode, xattrs, func(name string) bool { return name != objects.XattrAccessACL }); got != 0o100000|test.want {
				t.Errorf("mode %#o, want %#o", got, test.want)
			}
			if got := KeptMode(mode, xattrs, func(string) bool { return true }); got != mode {
				t.Errorf("with the list the mode is %#o", got)
			}
		})
	}
}
