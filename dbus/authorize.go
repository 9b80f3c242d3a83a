package dbus

import (
	"fmt"
	"os"
	"path"
	"strconv"
	"strings"
	"unicode"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// The actions of org.ostree.import1.policy.
const (
	actionInit            = BusName + ".init"
	actionCheck           = BusName + ".check"
	actionPrepare         = BusName + ".prepare"
	actionImport          = BusName + ".import"
	actionImportUntrusted = BusName + ".import-untrusted"
	actionExport          = BusName + ".export"
	actionRemove          = BusName + ".remove"
	actionPrune           = BusName + ".prune"
	actionVerify          = BusName + ".verify"
	actionCancel          = BusName + ".cancel"
)

// detailNames are the details of every question to polkit. Each is always there, "" where there is
// nothing to say: a rule that looks at one that is absent ends with a TypeError.
var detailNames = []string{
	"image", "images", "transport", "target", "destination", "prior", "scope", "job", "type", "options",
}

// permission is what polkit is asked for. Its details are for rules, and for the text that a person
// sees.
type permission struct {
	action  string
	details map[string]string
	// unnamed, if not nil, says why the details cannot name what the call is about. Nobody gets
	// such a permission from polkit.
	unnamed error
	// places are the paths that what is permitted opens.
	places []place
}

// fetching is the permission to fetch an image. It is action when the image comes from a registry
// that is reached as the host's administrator configured it, and what is written has no name that
// the caller chose; all else takes import-untrusted, since it has a privileged process read what
// the caller names, or replace what has that name.
func fetching(action, image, target string, access importer.Access) (permission, error) {
	ref, err := reference.Parse(image)
	if err != nil {
		return permission{}, invalidReference(err)
	}
	if _, _, isPath := ref.Image.Path(); !isPath && access.Opened() != nil {
		return permission{}, invalidOption("%s is neither a file nor a directory, for which a descriptor could stand", ref.Image)
	}
	if ref.Image.Transport != reference.TransportRegistry || target != "" || !access.IsZero() {
		action = actionImportUntrusted
	}
	details := map[string]string{"image": ref.Image.String(), "transport": string(ref.Image.Transport)}
	if target != "" {
		details["target"] = target
	}
	places := append(imagePlaces(ref.Image, access.Opened()), accessPlaces(access)...)
	return permission{action: action, details: details, places: places}, nil
}

// writing is the permission to have a privileged process write a stored image to where the caller
// says.
func writing(image, destination string, places ...place) permission {
	p := onStored(actionExport, []string{image})
	p.details["destination"], p.places = destination, places
	return p
}

// onStored is the permission for something that is done with stored images. A single one is the
// detail "image"; of several the detail is "images", so that no rule takes the first for all. Other
// programs store images under names that no rule can be about, such as relative paths: those are
// root's alone.
func onStored(action string, images []string) permission {
	p := permission{action: action, details: map[string]string{}}
	printed := make([]string, len(images))
	for i, image := range images {
		var err error
		if printed[i], err = storedName(image); err != nil && p.unnamed == nil {
			p.unnamed = invalidReference(err)
		}
	}
	switch len(printed) {
	case 0:
	case 1:
		p.details["image"] = printed[0]
	default:
		p.details["images"] = strings.Join(printed, "\n")
	}
	return p
}

// storedName returns the name of a stored image as rules see it: in the form that lists show, with
// its path as reference.CleanPath returns it. A text that names no image is returned as it is, as
// long as it cannot be taken for several.
func storedName(text string) (string, error) {
	image, isImage := storedImage(text)
	if !isImage {
		if strings.ContainsFunc(text, unicode.IsControl) {
			return "", fmt.Errorf("the image reference %q contains a control character", text)
		}
		return text, nil
	}
	clean, err := image.Clean()
	if err != nil {
		return "", fmt.Errorf("only root may do this to %s: %w", image, err)
	}
	return clean.String(), nil
}

// storedImage reads what names a stored image: a reference, or the image's ref.
func storedImage(text string) (reference.Image, bool) {
	if image, err := reference.ImageOfRef(text); err == nil {
		return image, true
	}
	ref, err := reference.Parse(text)
	return ref.Image, err == nil
}

// onOrigin is onStored for what also asks the image's origin. That was named when the image was
// imported; other ways to reach it take import-untrusted. An image whose name is an unclean path is
// refused: its origin is not where a rule sees it. Whether an origin is opened is for the caller to
// add to the places.
func onOrigin(action string, images []string, access importer.Access) (permission, error) {
	for _, text := range images {
		image, isImage := storedImage(text)
		if !isImage {
			continue // no image has that name, and nothing is opened
		}
		clean, err := image.Clean()
		if err == nil && clean != image {
			err = fmt.Errorf("%q is not the shortest spelling of %q", image.Name, clean.Name)
		}
		if err != nil {
			return permission{}, invalidReference(fmt.Errorf("the origin of %s: %w", image, err))
		}
	}
	if !access.IsZero() {
		action = actionImportUntrusted
	}
	p := onStored(action, images)
	p.places = accessPlaces(access)
	return p, nil
}

// printedImage is the image in the form that lists show, if it can be read.
func printedImage(text string) string {
	ref, err := reference.Parse(text)
	if err != nil {
		return text
	}
	return ref.Image.String()
}

// authorize decides whether the caller may do what takes the permission, and returns who that is.
// options are the names of the options that were given.
func (s *Server) authorize(c *call, p permission, options []string) (daemon.Caller, error) {
	who, err := s.identify(c)
	if err != nil {
		return who.Caller, err
	}
	if c.descriptors != nil {
		who.Descriptors = c.descriptors.of(who)
	}
	if !who.privileged {
		if p.unnamed != nil {
			return who.Caller, p.unnamed
		}
		p.details["options"] = strings.Join(options, ",")
		if err := s.askPolkit(c, p); err != nil {
			return who.Caller, err
		}
	}
	if len(p.places) == 0 {
		return who.Caller, nil
	}
	// Looking at the places takes time, and tells about links that the caller may not read.
	return who.Caller, c.outside(func() error { return checkPlaces(c.ctx, who.pid, p.places) })
}

// askPolkit asks polkit for a permission of the caller. The question holds no text that the caller
// can make longer than maxText, and no more than maxEntries of them.
func (s *Server) askPolkit(c *call, p permission) error {
	return c.outside(func() error {
		return checkPolkit(c.ctx, s.conn, c.key.sender, p.action, p.details, c.interactive)
	})
}

// authorizeCancel asks polkit whether the caller may stop a job that others want.
func (s *Server) authorizeCancel(c *call, status daemon.JobStatus) error {
	details := map[string]string{
		"job":   strconv.FormatUint(status.ID, 10),
		"type":  string(status.Type),
		"image": status.Image,
	}
	return s.askPolkit(c, permission{action: actionCancel, details: details})
}

// requirePrivilege refuses everybody who would have to ask polkit.
func (s *Server) requirePrivilege(c *call) error {
	who, err := s.identify(c)
	if err == nil && !who.privileged {
		err = standardError(errAccessDenied, "only root may do this")
	}
	return err
}

// identity is what the bus says of a caller.
type identity struct {
	daemon.Caller
	pid        uint32 // 0 when it is not known; the process may be another one by now
	rights     *dirfd.Rights
	privileged bool
}

// identify asks the bus who the caller is.
func (s *Server) identify(c *call) (identity, error) {
	var credentials map[string]godbus.Variant
	err := c.outside(func() error {
		return askBus(c.ctx, s.conn, "GetConnectionCredentials", c.key.sender).Store(&credentials)
	})
	if err != nil {
		return identity{}, standardError(errAccessDenied, "cannot tell who calls: %v", err)
	}
	uid, known := credentials["UnixUserID"].Value().(uint32)
	if !known {
		return identity{}, standardError(errAccessDenied, "cannot tell who calls: the bus does not know the user")
	}
	who := identity{Caller: daemon.Caller{UID: uid}, privileged: isPrivileged(uid)}
	groups, _ := credentials["UnixGroupIDs"].Value().([]uint32)
	who.rights = rightsOf(uid, groups)
	if pid, known := credentials["ProcessID"].Value().(uint32); known {
		who.pid, who.Unit = pid, unitOf(pid)
	}
	return who, nil
}

// unitOf is the systemd unit that a process is in, or "". It is for the log and the records only:
// the process may be another one by now.
func unitOf(pid uint32) string {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return ""
	}
	return unitOfGroups(string(groups))
}

// unitOfGroups is the innermost unit in the text of a /proc/PID/cgroup.
func unitOfGroups(groups string) string {
	for line := range strings.Lines(groups) {
		for group := strings.TrimSpace(line); strings.Contains(group, "/"); group = path.Dir(group) {
			if unit := path.Base(group); strings.HasSuffix(unit, ".service") || strings.HasSuffix(unit, ".scope") {
				return unit
			}
		}
	}
	return ""
}
