package dbus

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// hostMounts are those of a host, and unitMounts what a unit of systemd 252 with PrivateTmp=,
// ProtectHome= and ProtectSystem=strict sees of them.
const (
	hostMounts = `22 27 0:21 / /proc rw shared:5 - proc proc rw
27 1 254:1 / / rw shared:1 - ext4 /dev/vda1 rw
30 27 0:24 / /run rw shared:2 - tmpfs tmpfs rw
31 27 254:2 / /srv rw shared:3 - xfs /dev/vdb rw
32 27 0:40 / /tmp/mounted rw shared:4 - tmpfs tmpfs rw
33 31 254:1 /data /srv/bound\040here rw shared:1 - ext4 /dev/vda1 rw
`
	unitMounts = `122 127 0:21 / /proc rw - proc proc rw
127 100 254:1 / / ro - ext4 /dev/vda1 rw
130 127 0:24 / /run ro - tmpfs tmpfs rw
131 127 254:2 / /srv rw - xfs /dev/vdb rw
132 127 0:40 / /tmp/mounted ro - tmpfs tmpfs rw
133 131 254:1 /data /srv/bound\040here rw - ext4 /dev/vda1 rw
140 127 254:1 /tmp/systemd-private-1-ostree-importd.service-2/tmp /tmp rw - ext4 /dev/vda1 rw
141 127 254:1 /var/tmp/systemd-private-1-ostree-importd.service-2/tmp /var/tmp rw - ext4 /dev/vda1 rw
142 127 0:24 /systemd/inaccessible/dir /home ro - tmpfs tmpfs rw
143 127 0:24 /systemd/inaccessible/dir /root ro - tmpfs tmpfs rw
144 130 0:24 /systemd/inaccessible/dir /run/user ro - tmpfs tmpfs rw
`
)

func viewOf(t *testing.T, text string) *view {
	t.Helper()
	v, err := parseView(t.Context(), strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestViewsDiffer(t *testing.T) {
	host, unit := viewOf(t, hostMounts), viewOf(t, unitMounts)
	for path, blamed := range map[string]string{
		"/":                  "",
		"/etc/containers":    "",
		"/srv":               "",
		"/srv/image":         "",
		"/srv/bound here/x":  "",
		"/run/lock":          "",
		"/tmpfile":           "",
		"/rootfs":            "",
		"/var/tmpx":          "",
		"/tmp":               "/tmp",
		"/tmp/o.tar":         "/tmp",
		"/tmp/mounted/image": "/tmp/mounted",
		"/var/tmp/image":     "/var/tmp",
		"/root/img":          "/root",
		"/home/user/img":     "/home",
		"/run/user/1000/x":   "/run/user",
	} {
		if got, differs := unit.differs(host, path); differs != (blamed != "") || got != blamed {
			t.Errorf("%s: %q, %v, want %q", path, got, differs, blamed)
		}
		if got, differs := host.differs(host, path); differs {
			t.Errorf("%s differs from itself at %s", path, got)
		}
	}
}

func TestResolvePath(t *testing.T) {
	dir := t.TempDir()
	for name, target := range map[string]string{"up": "..", "home": "missing/home", "absolute": "/missing", "loop": "loop"} {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for path, want := range map[string]string{
		dir:                     dir,
		dir + "/x/y":            dir + "/x/y",
		dir + "/home/u":         dir + "/missing/home/u",
		dir + "/absolute/u/img": "/missing/u/img",
		dir + "/up/x":           filepath.Dir(dir) + "/x",
		"/":                     "/",
	} {
		if got := resolvePath(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
	resolvePath(dir + "/loop/x") // ends
	long := dir + strings.Repeat("/..", 2*maxPathNames) + strings.Repeat("/x", maxPathNames) + "/../y"
	if got, want := resolvePath(long), filepath.Clean(long); got != want {
		t.Errorf("a path with many names is %s, want %s", got, want)
	}
}

func TestPlacesOfACaller(t *testing.T) {
	dir := t.TempDir()
	for _, pid := range []uint32{uint32(os.Getpid()), 0, 1 << 30} {
		if err := checkPlaces(t.Context(), pid, []place{{path: dir}, {path: "/missing", written: true}}); err != nil {
			t.Errorf("process %d: %v", pid, err)
		}
	}
	for written, want := range map[bool]string{false: "cannot see /tmp/x", true: "cannot write /tmp/x"} {
		err := place{"/tmp/x", written}.unseen("/tmp")
		if importer.KindOf(err) != importer.KindInvalidOption || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), "--local") || !strings.Contains(err.Error(), "/srv") {
			t.Errorf("%v", err)
		}
	}
}

// stacked lists a root with n mounts that lie on each other on /srv/mp, and one below it.
func stacked(n int) string {
	var list strings.Builder
	list.WriteString("1 0 254:1 / / rw - ext4 /dev/vda1 rw\n")
	for id := range n {
		fmt.Fprintf(&list, "%d %d 254:2 /%d /srv/mp rw - xfs /dev/vdb rw\n", id+2, id+1, id)
	}
	fmt.Fprintf(&list, "%d %d 254:3 / /srv/mp/in rw - xfs /dev/vdc rw\n", n+2, n+1)
	return list.String()
}

// TestManyMounts: a caller with many mounts and many paths takes time in proportion to both lists,
// not to their products.
func TestManyMounts(t *testing.T) {
	const n = 8000
	ours, theirs := viewOf(t, stacked(1)), viewOf(t, stacked(n))
	start := time.Now()
	for key := range maxEntries {
		path := fmt.Sprintf("/srv/mp/k%d", key)
		if blamed, differs := ours.differs(theirs, path); !differs || blamed != "/srv/mp" {
			t.Fatalf("%s: %q, %v", path, blamed, differs)
		}
	}
	if at := theirs.mountOf("/srv/mp/k"); at.ID != n+1 {
		t.Errorf("the path leads to the mount %d, want the last, %d", at.ID, n+1)
	}
	if at := theirs.mountOf("/srv/mp/in/k"); at.ID != n+2 {
		t.Errorf("the path leads to the mount %d, want %d, which is on the last", at.ID, n+2)
	}
	if took := time.Since(start); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
}

// TestListsOfMountsThatAreNotLookedAt: too long ones, and those of nobody who waits.
func TestListsOfMountsThatAreNotLookedAt(t *testing.T) {
	line := "1 0 254:1 / / rw - ext4 /dev/vda1 rw\n"
	long := "2 1 254:1 /" + strings.Repeat("x", 4000) + " /x rw - ext4 /dev/vda1 rw\n"
	for name, list := range map[string]string{
		"none":      "",
		"malformed": "1 0",
		"many":      stacked(maxMounts),
		"large":     line + strings.Repeat(long, maxView/len(long)+1),
	} {
		if v, err := parseView(t.Context(), strings.NewReader(list)); err == nil {
			t.Errorf("%s: %d mounts", name, len(v.on))
		}
	}
	if _, err := parseView(t.Context(), strings.NewReader(stacked(maxMounts-2))); err != nil {
		t.Error(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := parseView(canceled, strings.NewReader(line)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if err := checkPlaces(canceled, 1, []place{{path: "/"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestMountsInACircle ends: no kernel lists such.
func TestMountsInACircle(t *testing.T) {
	v := viewOf(t, "1 1 254:1 / / rw - ext4 a rw\n2 1 254:2 / /a rw - ext4 a rw\n"+
		"3 2 254:3 / /a rw - ext4 a rw\n2 3 254:4 / /a rw - ext4 a rw\n")
	if v.mountOf("/a/b") == nil {
		t.Error("the path leads nowhere")
	}
}
