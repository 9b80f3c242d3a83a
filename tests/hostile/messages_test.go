//go:build hostile

package hostile

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

const (
	busName = "org.ostree.import1"
	// Users without rights that every Debian has: the bus refuses those that nobody knows.
	nobody     = 65534
	daemonUser = 1
	// freedesktop begins the names of errors that every service and the bus have.
	freedesktop = "org.freedesktop.DBus.Error."
)

// connectAs connects to the bus as another user: the bus takes the effective user of the thread
// that connects.
func connectAs(s *stage, uid int) (*godbus.Conn, error) {
	socket, err := dialAs(s, uid)
	if err != nil {
		return nil, err
	}
	conn, err := godbus.NewConn(socket)
	if err != nil {
		return nil, err
	}
	if err := conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(uid))}); err != nil {
		return nil, err
	}
	return conn, conn.Hello()
}

func dialAs(s *stage, uid int) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return nil, fmt.Errorf("become user %d: %w", uid, errno)
	}
	defer syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep)
	return net.Dial("unix", strings.TrimPrefix(s.bus.Address, "unix:path="))
}

// callRow is a row for one call by an unprivileged user; method is INTERFACE.METHOD.
func callRow(name, want, path, method string, args ...any) row {
	return row{name: name, want: want, ask: func(_ *testing.T, s *stage) error {
		conn, err := connectAs(s, nobody)
		if err != nil {
			return err
		}
		defer conn.Close()
		return conn.Object(busName, godbus.ObjectPath(path)).Call(method, 0, args...).Err
	}}
}

// managerRow is the same for a method of the manager.
func managerRow(name, want, method string, args ...any) row {
	return callRow(name, want, root, manager+"."+method, args...)
}

// none are no options.
func none() map[string]godbus.Variant { return map[string]godbus.Variant{} }

// bigVariant is a dictionary whose values are nested variants, of about so many bytes.
func bigVariant(bytes int) map[string]godbus.Variant {
	nestedOnes := make([]godbus.Variant, bytes/40)
	for i := range nestedOnes {
		nestedOnes[i] = godbus.MakeVariant(godbus.MakeVariant(godbus.MakeVariant("xxxxxxxx")))
	}
	return map[string]godbus.Variant{"options": godbus.MakeVariant(nestedOnes)}
}

// messageRows are about messages on the bus, sent by a user who may do nothing.
func messageRows() []row {
	const (
		denied  = "AccessDenied|" + freedesktop + "AccessDenied|" + freedesktop + "InteractiveAuthorizationRequired"
		limits  = freedesktop + "LimitsExceeded"
		unknown = freedesktop + "UnknownMethod|" + freedesktop + "UnknownInterface|" + freedesktop + "UnknownObject|" + freedesktop + "AccessDenied"
		badArgs = freedesktop + "InvalidArgs|" + freedesktop + "InvalidSignature|" + denied
		image   = "docker://127.0.0.1:1/x"
		props   = "org.freedesktop.DBus.Properties"
	)
	rows := []row{
		managerRow("make the repository", denied, "Init", none()),
		managerRow("import", denied, "Import", image, none()),
		managerRow("import of a local file", denied, "Import", "oci:/etc:t", none()),
		managerRow("prepare", denied, "Prepare", image, none()),
		managerRow("unencapsulate", denied, "Unencapsulate", image, none()),
		managerRow("encapsulate to the host", denied, "Encapsulate", "main", "oci:/etc/cron.d:t", none()),
		managerRow("export to the host", denied, "Export", image, "tar:/etc/cron.d/x", none()),
		managerRow("copy", denied, "Copy", image, "/srv/repo", none()),
		managerRow("remove", denied, "RemoveImages", []string{image}, none()),
		managerRow("prune", denied, "Prune", "images", none()),
		managerRow("verify and repair", denied, "Verify", []string{}, variants(options{"repair": true})),
		managerRow("compare", denied+"|Network|NoSuchImage", "Compare", image, image, none()),
		managerRow("check for an update", denied+"|Network|NoSuchImage", "CheckUpdate", image, none()),
		managerRow("cancel a job of root", denied+"|NoSuchJob|NotCancellable", "CancelJob", uint64(1)),
		managerRow("list jobs", "", "ListJobs"),
		managerRow("describe jobs", "|"+limits, "DescribeJobs"),
		managerRow("list images", "", "ListImages"),
		managerRow("describe images", "|"+limits, "DescribeImages"),
		managerRow("list what is prepared", "", "ListPrepared"),
		managerRow("a job that is not there", "NoSuchJob", "GetJob", uint64(1<<63)),
		managerRow("an image whose name is no name", "InvalidReference", "GetImage", strings.Repeat("../", 1000)),
		managerRow("a name of 4 MB", "org.freedesktop.DBus.Error.LimitsExceeded", "Import", "docker://x/"+strings.Repeat("n", 4<<20), none()),
		managerRow("a name of 31 MB", limits, "Import", "docker://x/"+strings.Repeat("n", 31<<20), none()),
		managerRow("31 MB of variants in variants", limits, "Import", image, bigVariant(31<<20)),
		managerRow("2 MB of variants in variants", limits, "Import", image, bigVariant(2<<20)),
		managerRow("31 MB where nothing is wanted", "org.freedesktop.DBus.Error.LimitsExceeded", "ListJobs", strings.Repeat("n", 31<<20)),
		managerRow("31 MB for a method that is not there", "org.freedesktop.DBus.Error.LimitsExceeded", "NoSuchMethod", strings.Repeat("n", 31<<20)),
		managerRow("a list of 200,000 images", "org.freedesktop.DBus.Error.LimitsExceeded", "RemoveImages", slices.Repeat([]string{image}, 200_000), none()),
		managerRow("a variant 60 deep", "org.freedesktop.DBus.Error.LimitsExceeded", "Import", image, map[string]godbus.Variant{"jobs": deep(60)}),
		managerRow("no arguments", badArgs, "Import"),
		managerRow("too many arguments", badArgs, "Import", image, none(), "more", uint32(1)),
		managerRow("arguments of other types", badArgs, "Import", uint64(1), "x"),
		managerRow("a descriptor for a name", badArgs, "Import", godbus.UnixFDIndex(0), none()),
		managerRow("a method that is not there", unknown, "NoSuchMethod"),
		callRow("an interface that is not there", unknown, root, "org.example.NoSuchInterface.Method"),
		callRow("an object that is not there", "org.freedesktop.DBus.Error.UnknownObject", root+"/job/_99999", "org.ostree.import1.Job.Cancel"),
		callRow("an object with a long path", "org.freedesktop.DBus.Error.LimitsExceeded", root+"/image/"+strings.Repeat("x", 100_000), "org.ostree.import1.Image.Describe"),
		callRow("an object 20,000 levels deep", "org.freedesktop.DBus.Error.LimitsExceeded", "/"+strings.TrimSuffix(strings.Repeat("a/", 20_000), "/"), "org.freedesktop.DBus.Introspectable.Introspect"),
		callRow("introspection", "", root, "org.freedesktop.DBus.Introspectable.Introspect"),
		callRow("ping", "", root, "org.freedesktop.DBus.Peer.Ping"),
		callRow("all properties", "", root, props+".GetAll", manager),
		callRow("properties of no interface", "org.freedesktop.DBus.Error.LimitsExceeded", root, props+".GetAll", strings.Repeat("x", 500_000)),
		callRow("setting a property", "org.freedesktop.DBus.Error.PropertyReadOnly", root, props+".Set", manager, "NJobs", godbus.MakeVariant(uint32(0))),
		callRow("setting a property to 2 MB", limits, root, props+".Set", manager, "Version", godbus.MakeVariant(strings.Repeat("v", 2<<20))),
		callRow("setting the log level", denied, "/org/freedesktop/LogControl1", props+".Set", "org.freedesktop.LogControl1", "LogLevel", godbus.MakeVariant("debug")),
	}
	return append(rows, trafficRows()...)
}

// trafficRows are about many messages, and about those that are no calls.
func trafficRows() []row {
	return []row{
		{name: "signals that the bus should have sent", ask: func(_ *testing.T, s *stage) error {
			conn, err := connectAs(s, nobody)
			if err != nil {
				return err
			}
			defer conn.Close()
			for range 1000 {
				if err := conn.Emit("/org/freedesktop/DBus", "org.freedesktop.DBus.NameOwnerChanged", busName, s.name(), ""); err != nil {
					return err
				}
			}
			return s.call("ListJobs").Err
		}},
		{name: "replies that nobody waits for", ask: func(_ *testing.T, s *stage) error {
			conn, err := connectAs(s, nobody)
			if err != nil {
				return err
			}
			defer conn.Close()
			for range 1000 {
				calls := make(chan *godbus.Call, 1)
				conn.Object(busName, root).Go(manager+".Import", godbus.FlagNoReplyExpected, calls, "docker://127.0.0.1:1/x", none())
			}
			return s.call("ListJobs").Err
		}},
		{name: "connections that leave in mid-call", ask: func(_ *testing.T, s *stage) error {
			for range 50 {
				conn, err := connectAs(s, nobody)
				if err != nil {
					return err
				}
				conn.Object(busName, root).Go(manager+".Import", 0, make(chan *godbus.Call, 1), "docker://127.0.0.1:1/x", none())
				conn.Close()
			}
			return s.call("ListJobs").Err
		}},
		{name: "a flood of two users", limit: 60 * time.Second, ask: flood},
	}
}

// flood has two users send many calls without waiting for answers, while root asks for something.
func flood(t *testing.T, s *stage) error {
	const calls = 10_000
	for _, uid := range []int{nobody, daemonUser} {
		conn, err := connectAs(s, uid)
		if err != nil {
			return err
		}
		defer conn.Close()
		replies := make(chan *godbus.Call, calls)
		go func() {
			for range calls {
				conn.Object(busName, root).Go(manager+".Import", 0, replies, "docker://127.0.0.1:1/x", none())
			}
		}()
	}
	// The first call may meet the flood's beginning; how quick all are is for a benchmark to say.
	for range 20 {
		began := time.Now()
		if err := s.call("ListJobs").Err; err != nil {
			return err
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("root waited %v", took)
		}
	}
	return nil
}

// name is the daemon's unique name.
func (s *stage) name() string {
	return fmt.Sprintf(":1.%d", os.Getpid()) // no name of anybody: what is told is a lie in any case
}
