package dbus

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	godbus "github.com/godbus/dbus/v5"
)

// BusName is the name that the daemon owns.
const BusName = "org.ostree.import1"

const (
	managerInterface    = BusName + ".Manager"
	jobInterface        = BusName + ".Job"
	preparedInterface   = BusName + ".Prepared"
	imageInterface      = BusName + ".Image"
	logControlInterface = "org.freedesktop.LogControl1"

	busInterface            = "org.freedesktop.DBus" // also the name of the bus itself
	propertiesInterface     = "org.freedesktop.DBus.Properties"
	introspectableInterface = "org.freedesktop.DBus.Introspectable"
	objectManagerInterface  = "org.freedesktop.DBus.ObjectManager"
	peerInterface           = "org.freedesktop.DBus.Peer"

	rootPath       godbus.ObjectPath = "/org/ostree/import1"
	jobsPath                         = rootPath + "/job"
	preparedsPath                    = rootPath + "/prepared"
	imagesPath                       = rootPath + "/image"
	logControlPath godbus.ObjectPath = "/org/freedesktop/LogControl1"
)

func jobPath(id uint64) godbus.ObjectPath      { return idPath(jobsPath, id) }
func preparedPath(id uint64) godbus.ObjectPath { return idPath(preparedsPath, id) }

// imagePath is the path of the image that reference.Image prints as name.
func imagePath(name string) godbus.ObjectPath {
	return imagesPath + "/" + godbus.ObjectPath(escapeLabel(name))
}

func idPath(parent godbus.ObjectPath, id uint64) godbus.ObjectPath {
	return parent + "/_" + godbus.ObjectPath(strconv.FormatUint(id, 10))
}

// parseID is the id in a path's last element as idPath writes it, and in no other spelling.
func parseID(element string) (uint64, bool) {
	digits, found := strings.CutPrefix(element, "_")
	id, err := strconv.ParseUint(digits, 10, 64)
	return id, found && err == nil && strconv.FormatUint(id, 10) == digits
}

// escapeLabel writes any text as one element of an object path, as systemd's bus_label_escape does.
func escapeLabel(text string) string {
	if text == "" {
		return "_"
	}
	var b strings.Builder
	for i := range len(text) {
		c := text[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		digit := c >= '0' && c <= '9'
		if letter || digit && i > 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// unescapeLabel is the inverse of escapeLabel; ok is false for what escapeLabel does not write.
func unescapeLabel(label string) (text string, ok bool) {
	var b strings.Builder
	for rest := label; rest != "" && label != "_"; {
		if rest[0] != '_' {
			b.WriteByte(rest[0])
			rest = rest[1:]
			continue
		}
		if len(rest) < 3 {
			return "", false
		}
		c, err := hex.DecodeString(rest[1:3])
		if err != nil {
			return "", false
		}
		b.Write(c)
		rest = rest[3:]
	}
	return b.String(), escapeLabel(b.String()) == label
}

// splitMethod takes "interface.member" apart.
func splitMethod(method string) (iface, member string) {
	dot := strings.LastIndexByte(method, '.')
	return method[:dot], method[dot+1:]
}
