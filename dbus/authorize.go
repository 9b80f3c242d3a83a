package dbus

import (
	"fmt"
	"os"
	"path"
	"reflect"
	"strconv"
	"strings"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

// The actions of org.ostree.import1.policy.
const (
	actionPrepare         = BusName + ".prepare"
	actionImport          = BusName + ".import"
	actionImportUntrusted = BusName + ".import-untrusted"
	actionCancel          = BusName + ".cancel"
)

// authorizeRequest decides whether the caller may have the request done and returns who that is. action is what it takes when
// the image comes from a registry that is reached as the host's administrator configured it, and is recorded under its own
// name; all else takes import-untrusted, since it has a privileged process read what the caller names.
func (s *Server) authorizeRequest(c *call, action string, request importer.Request, options []string) (daemon.Caller, error) {
	caller, privileged, err := s.identify(c)
	if err != nil || privileged {
		return caller, err
	}
	ref, err := reference.Parse(request.Image)
	if err != nil {
		return caller, &importer.Error{Kind: importer.KindInvalidReference, Stage: importer.StageReference, Err: err}
	}
	if ref.Image.Transport != reference.TransportRegistry || request.Target != "" ||
		!reflect.DeepEqual(request.Access, importer.Access{}) {
		action = actionImportUntrusted
	}
	details := map[string]string{
		"image":     ref.Image.String(),
		"transport": string(ref.Image.Transport),
		"options":   strings.Join(options, ","),
	}
	if request.Target != "" {
		details["target"] = request.Target
	}
	return caller, checkPolkit(c.ctx, s.conn, c.key.sender, action, details, c.interactive)
}

// authorizeCancel lets everybody cancel their own jobs.
func (s *Server) authorizeCancel(c *call, status daemon.JobStatus) error {
	caller, privileged, err := s.identify(c)
	if err != nil || privileged || caller.UID == status.CallerUID {
		return err
	}
	details := map[string]string{
		"job":   strconv.FormatUint(status.ID, 10),
		"type":  string(status.Type),
		"image": status.Image,
	}
	return checkPolkit(c.ctx, s.conn, c.key.sender, actionCancel, details, c.interactive)
}

// requirePrivilege refuses everybody who would have to ask polkit.
func (s *Server) requirePrivilege(c *call) error {
	_, privileged, err := s.identify(c)
	if err == nil && !privileged {
		err = standardError(errAccessDenied, "only root may do this")
	}
	return err
}

// identify asks the bus who the caller is. Root, and the user that the daemon runs as, are privileged: they could do the same
// without the daemon.
func (s *Server) identify(c *call) (caller daemon.Caller, privileged bool, err error) {
	var credentials map[string]godbus.Variant
	if err := callBus(c.ctx, s.conn, "GetConnectionCredentials", c.key.sender).Store(&credentials); err != nil {
		return caller, false, standardError(errAccessDenied, "cannot tell who calls: %v", err)
	}
	uid, known := credentials["UnixUserID"].Value().(uint32)
	if !known {
		return caller, false, standardError(errAccessDenied, "cannot tell who calls: the bus does not know the user")
	}
	caller.UID = uid
	if pid, known := credentials["ProcessID"].Value().(uint32); known {
		caller.Unit = unitOf(pid)
	}
	return caller, uid == 0 || int(uid) == os.Geteuid(), nil
}

// unitOf is the systemd unit that a process is in, or "". It is for the log and the records only: the process may be another
// one by now.
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
