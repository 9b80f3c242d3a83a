package dbus

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// pipes makes pipes, and gives the ends to send and a function that waits until nobody has these
// open.
func pipes(t *testing.T, n int) (ends []*os.File, closed func()) {
	t.Helper()
	var other []*os.File
	for range n {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close(); w.Close() })
		ends, other = append(ends, w), append(other, r)
	}
	return ends, func() {
		t.Helper()
		for _, w := range ends {
			w.Close()
		}
		for _, r := range other {
			if err := r.SetReadDeadline(time.Now().Add(testTimeout)); err != nil {
				t.Fatal(err)
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("a descriptor stays open: %d, %v", n, err)
			}
		}
	}
}

func handles(files []*os.File) []godbus.UnixFD {
	var numbers []godbus.UnixFD
	for _, f := range files {
		numbers = append(numbers, godbus.UnixFD(f.Fd()))
	}
	return numbers
}

// regular makes an open file with some content.
func regular(t *testing.T, content string) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	writeFile(t, path, content)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// TestDescriptorsAreClosed sends descriptors in every way that nobody reads them.
func TestDescriptorsAreClosed(t *testing.T) {
	needs.Root(t)
	s := newSuite(t, suiteOptions{})
	image := "docker://example.com/os:1"
	for _, test := range []struct {
		name string
		uid  int
		send func(conn *godbus.Conn, fds []godbus.UnixFD) error
	}{
		{"no option", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			return s.manage(conn, "Import", image, map[string]godbus.Variant{"other": godbus.MakeVariant(fds)}).Err
		}},
		{"no method", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error { return s.manage(conn, "Missing", fds).Err }},
		{"other arguments", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error { return s.manage(conn, "Import", fds).Err }},
		{"option of another type", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			return s.manage(conn, "Import", image, map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(fds)}).Err
		}},
		{"no file", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			return s.manage(conn, "Import", image, map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(fds[0])}).Err
		}},
		{"without authorization", nobody, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			return s.manage(conn, "Import", image, map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(fds[0])}).Err
		}},
		{"no answer", nobody, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			conn.Object(BusName, rootPath).Call(managerInterface+".ListJobs", godbus.FlagNoReplyExpected, fds)
			return errors.New("none is expected")
		}},
		{"too many", 0, func(conn *godbus.Conn, fds []godbus.UnixFD) error {
			fds = slices.Repeat(fds, maxDescriptors)
			return s.manage(conn, "Import", fds).Err
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			conn := s.connectAs(t, test.uid)
			ends, closed := pipes(t, 3)
			if err := test.send(conn, handles(ends)); err == nil {
				t.Error("it is no error")
			}
			closed()
			if err := s.manage(s.connect(t), "ListJobs").Err; err != nil {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestDescriptorFlood has a user without any authorization send many descriptors, in calls that are
// not answered before all came.
func TestDescriptorFlood(t *testing.T) {
	needs.Root(t)
	s := newSuite(t, suiteOptions{noHammer: true})
	release := make(chan struct{})
	s.startPolkit(t, func(polkitCheck) (bool, bool, *godbus.Error) {
		<-release
		return false, false, nil
	})
	f := regular(t, "{}")
	options := map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(godbus.UnixFD(f.Fd()))}
	before := openFiles(t)
	conns := make([]*godbus.Conn, 4)
	for i := range conns {
		conns[i] = s.connectAs(t, nobody)
		if err := s.manage(conns[i], "ListJobs").Err; err != nil { // it is known now whose it is
			t.Fatal(err)
		}
	}
	answers := make(chan *godbus.Call, 400)
	for i := range cap(answers) {
		conns[i%len(conns)].Object(BusName, rootPath).
			Go(managerInterface+".Import", 0, answers, "docker://example.com/os:1", options)
	}
	for refused := 0; refused < cap(answers)-maxUserCalls; refused++ {
		if c := receive(t, answers); c.Err == nil {
			t.Fatal("a call has an answer that is no error")
		}
	}
	// The files of the calls, and of the four connections with their other ends.
	if now := openFiles(t); now > before+maxUserBytes/descriptorCost+4*len(conns) {
		t.Errorf("%d descriptors are open, %d were", now, before)
	}
	close(release)
}

// TestDescriptorOfAnAuthfile sees that the file which the caller has opened arrives, with a client
// of ours and by godbus.
func TestDescriptorOfAnAuthfile(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	seen := make(chan string, 1)
	s.registry.access = func(a importer.Access) {
		raw, err := a.AuthFD.ReadFile(100)
		seen <- fmt.Sprint(string(raw), err)
	}
	conn := s.connect(t)
	options := map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(godbus.UnixFD(regular(t, "first").Fd()))}
	_, path := s.startImport(t, conn, "docker://example.com/os:1", options)
	_ = s.wait(conn, path)
	if got := receive(t, seen); got != "first<nil>" {
		t.Errorf("got %s", got)
	}

	d, err := importer.NewDescriptor(regular(t, "second"))
	if err != nil {
		t.Fatal(err)
	}
	request := importer.Request{Image: "docker://example.com/os:1", Access: importer.Access{AuthFD: d}}
	if _, err := s.client(t).Import(t.Context(), request, daemon.JobOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := receive(t, seen); got != "second<nil>" {
		t.Errorf("got %s", got)
	}
}

// TestDescriptorsComeInOrder mixes calls with and without descriptors in one stream of messages.
func TestDescriptorsComeInOrder(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	var calls []*godbus.Call
	for i := range maxUserCalls {
		args := []any{"docker://example.com/os:1", map[string]godbus.Variant{}}
		if i%3 == 0 {
			args[1] = map[string]godbus.Variant{"authfile-fd": godbus.MakeVariant(godbus.UnixFD(regular(t, "").Fd())),
				"auth-anonymous": godbus.MakeVariant(true)}
		}
		calls = append(calls, conn.Object(BusName, rootPath).Go(managerInterface+".Prepare", 0, nil, args...))
	}
	for i, c := range calls {
		receive(t, c.Done)
		if text := fmt.Sprint(c.Err); (i%3 == 0) != strings.Contains(text, "exclude each other") {
			t.Errorf("call %d: %v", i, c.Err)
		}
	}
}

// TestTruncatedDescriptors reads while too many descriptors wait to be closed: the kernel is asked
// for none.
func TestTruncatedDescriptors(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), ""), os.NewFile(uintptr(pair[1]), "")
	defer ours.Close()
	defer theirs.Close()
	socket, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	r := &receiver{socket: socket}
	for _, waiting := range []int64{0, maxClosing} {
		r.closing.waiting.Store(waiting)
		if err := unix.Sendmsg(pair[1], []byte("x"), unix.UnixRights(pair[1]), nil, 0); err != nil {
			t.Fatal(err)
		}
		start := r.total
		if n, err := r.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if files, ok := r.claim(start, 1); ok != (waiting == 0) || ok != (len(files) == 1) {
			t.Errorf("with %d waiting: %v, %v", waiting, files, ok)
		}
	}
}
