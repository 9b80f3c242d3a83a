package dbus

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// Users who may do nothing without polkit. The bus wants them to be in the user database.
const (
	nobody   = 65534
	somebody = 1
)

// testTimeout ends a test that waits for something that doesn't come.
const testTimeout = 60 * time.Second

// busConfig has the rules of the system bus that matter here, and the project's own file as it is
// installed.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-BUS Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <listen>unix:path=%[1]s/bus</listen>
  <auth>EXTERNAL</auth>
  <servicedir>%[1]s/services</servicedir>
  <policy context="default">
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.PolicyKit1"/>
  </policy>
  <policy user="root">
    <allow own="org.freedesktop.PolicyKit1"/>
  </policy>
  <include>%[2]s</include>
</busconfig>
`

// testBus is a private message bus.
type testBus struct {
	address string
	dir     string
}

// startBus starts a bus for the time of the test; environment is what services that it starts get
// besides the test's own.
func startBus(t testing.TB, environment ...string) *testBus {
	t.Helper()
	dir := publicDir(t)
	policy, err := filepath.Abs("org.ostree.import1.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "bus.conf")
	writeFile(t, config, fmt.Sprintf(busConfig, dir, policy))
	if err := os.Mkdir(filepath.Join(dir, "services"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(needs.Tool(t, "dbus-daemon"), "--nofork", "--nopidfile", "--print-address=1", "--config-file="+config)
	cmd.Env = append(os.Environ(), environment...)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start the bus (apt-get install dbus): %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if text, err := os.ReadFile(log.Name()); err == nil && t.Failed() {
			t.Logf("the bus said:\n%s", text)
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the bus does not come up: %v", err)
	}
	return &testBus{address: strings.TrimSpace(line), dir: dir}
}

// activate has the bus run a command when a call comes while nobody owns the name.
func (b *testBus) activate(t *testing.T, command string) {
	t.Helper()
	writeFile(t, filepath.Join(b.dir, "services", BusName+".service"), "[D-BUS Service]\nName="+BusName+"\nExec="+command+"\n")
}

// publicDir is a directory that other users can enter.
func publicDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "importd-bus-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t testing.TB, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

// connect opens another connection.
func (b *testBus) connect(t testing.TB) *godbus.Conn {
	t.Helper()
	conn, err := connect(context.Background(), b.address, godbus.WithSignalHandler(godbus.NewSequentialSignalHandler()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// connectAs opens a connection that the bus takes for one of another user.
func (b *testBus) connectAs(t testing.TB, uid int) *godbus.Conn {
	t.Helper()
	socket, err := dialAs(b, uid)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := godbus.DialUnix(socket.(*net.UnixConn), godbus.WithSignalHandler(godbus.NewSequentialSignalHandler()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(uid))}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Hello(); err != nil {
		t.Fatal(err)
	}
	return conn
}

// dialAs connects with the effective user id of another user, on a thread that no other goroutine
// uses meanwhile.
func dialAs(b *testBus, uid int) (net.Conn, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	const keep = ^uintptr(0)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_SETRESUID, keep, uintptr(uid), keep); errno != 0 {
		return nil, fmt.Errorf("become user %d (these tests need root): %w", uid, errno)
	}
	defer syscall.RawSyscall(syscall.SYS_SETRESUID, keep, 0, keep)
	return net.Dial("unix", filepath.Join(b.dir, "bus"))
}

// client is a Client on a connection of its own.
func (b *testBus) client(t *testing.T) *Client {
	t.Helper()
	client, err := Dial(context.Background(), b.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// polkit is a PolicyKit that says what it is told to.
type polkit struct {
	mu     sync.Mutex
	answer func(check polkitCheck) (authorized, challenge bool, err *godbus.Error)
	checks []polkitCheck
}

// polkitCheck is what was asked.
type polkitCheck struct {
	subject polkitSubject
	action  string
	details map[string]string
	flags   uint32
}

type polkitAnswer struct {
	Authorized bool
	Challenge  bool
	Details    map[string]string
}

// startPolkit lets answer decide for the time of the test.
func (b *testBus) startPolkit(t *testing.T, answer func(polkitCheck) (authorized, challenge bool, err *godbus.Error)) *polkit {
	t.Helper()
	p := &polkit{answer: answer}
	conn := b.connect(t)
	if err := conn.Export(p, polkitPath, "org.freedesktop.PolicyKit1.Authority"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.RequestName(polkitName, godbus.NameFlagDoNotQueue); err != nil {
		t.Fatal(err)
	}
	return p
}

// CheckAuthorization is polkit's method.
func (p *polkit) CheckAuthorization(subject polkitSubject, action string, details map[string]string, flags uint32, _ string) (polkitAnswer, *godbus.Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	check := polkitCheck{subject, action, details, flags}
	p.checks = append(p.checks, check)
	authorized, challenge, err := p.answer(check)
	return polkitAnswer{authorized, challenge, map[string]string{}}, err
}

func (p *polkit) asked() []polkitCheck {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]polkitCheck(nil), p.checks...)
}
