package systemd

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// listen binds a datagram socket, as the service manager does, and names it in the environment.
func listen(t *testing.T) *net.UnixConn {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "notify"), Net: "unixgram"}
	conn, err := net.ListenUnixgram("unixgram", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	t.Setenv("NOTIFY_SOCKET", address.Name)
	return conn
}

func receive(t *testing.T, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 64<<10)
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return string(buf[:n])
}

func TestNotify(t *testing.T) {
	conn := listen(t)
	tests := []struct {
		name   string
		states []string
		want   string
	}{
		{"one", []string{"READY=1"}, "READY=1"},
		{"several in one datagram", []string{"STOPPING=1", "STATUS=job 3: 40 %"}, "STOPPING=1\nSTATUS=job 3: 40 %"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := Notify(tt.states...); err != nil {
				t.Fatal(err)
			}
			if got := receive(t, conn); got != tt.want {
				t.Errorf("received %q, want %q", got, tt.want)
			}
		})
	}
}

func TestNotifyWithoutServiceManager(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Notify("READY=1"); err != nil {
		t.Errorf("Notify: %v", err)
	}
}

func TestNotifySocketGone(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "missing"))
	err := Notify("READY=1")
	if err == nil || !strings.Contains(err.Error(), "cannot reach the service manager") {
		t.Errorf("Notify: %v", err)
	}
}

func TestWatchdogPingsFirst(t *testing.T) {
	conn := listen(t)
	t.Setenv("WATCHDOG_USEC", "2000")
	t.Setenv("WATCHDOG_PID", "")
	ctx, stop := context.WithCancel(t.Context())
	var pings atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watchdog(ctx, func() { pings.Add(1) })
	}()
	for i := int64(1); i <= 3; i++ {
		if got := receive(t, conn); got != "WATCHDOG=1" {
			t.Errorf("received %q", got)
		}
		if n := pings.Load(); n < i {
			t.Errorf("message %d came after %d pings", i, n)
		}
	}
	stop()
	<-done
}

func TestWatchdogNotAskedFor(t *testing.T) {
	tests := []struct{ name, usec, pid string }{
		{"no interval", "", ""},
		{"another process", "2000", "1"},
		{"unreadable", "soon", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("WATCHDOG_USEC", tt.usec)
			t.Setenv("WATCHDOG_PID", tt.pid)
			Watchdog(t.Context(), func() { t.Error("pinged") })
		})
	}
}
