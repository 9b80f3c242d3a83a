//go:build system

package system

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// TestPasswordAtTheTerminal: where polkit wants a password, it is asked for at the terminal of
// whoever calls the command.
func TestPasswordAtTheTerminal(t *testing.T) {
	image := newSite(t).push(t, "password:1", noise("usr/lib/blob", 4096)).reference
	run(t, "useradd", "typist")
	run(t, "sh", "-c", "echo typist:correct | chpasswd")
	setRules(t, `polkit.addRule(function(action, subject) {
	if (action.id == "org.ostree.import1.import" && subject.user == "typist") return polkit.Result.AUTH_SELF;
});
`)
	tests := []struct {
		name, password string
		options        []string
		code           int
		shown          string
	}{
		{"right password", "correct", nil, 0, "imported " + image},
		{"wrong password", "wrong", nil, 4, "not authorized"},
		{"nobody is asked", "", []string{"--no-ask-password"}, 4, "authentication required"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			// As a person who has logged in: polkit looks for agents of processes in sessions.
			args := append([]string{"--quiet", "--pty", "--wait", "--uid=typist", "--property=PAMName=login", "ostree-importctl"}, test.options...)
			terminal := fixture.StartTerminal(t, exec.Command("systemd-run", append(args, "pull", image)...), 120, 40)
			if test.password != "" {
				terminal.Await(t, "Password:")
				awaitQuestion(t)
				terminal.Type(t, test.password+"\n")
			}
			code := terminal.Wait(t)
			screen := strings.ReplaceAll(terminal.Screen(), "\n", "")
			if code != test.code || !strings.Contains(screen, test.shown) {
				t.Errorf("exit code %d, want %d, and %q on\n%s", code, test.code, test.shown, terminal.Screen())
			}
			if test.password != "" && strings.Contains(screen, test.password) {
				t.Error("the password is shown")
			}
		})
	}
}

// awaitQuestion waits until pkttyagent reads the password: it prints its question first, and then
// switches the echo off and drops what was typed until then.
func awaitQuestion(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(fixture.Timeout); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		name, _ := try("ps", "-o", "tty=", "-C", "pkttyagent")
		terminal, err := os.OpenFile("/dev/"+name, os.O_RDWR|syscall.O_NOCTTY, 0)
		if err != nil {
			continue
		}
		state, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
		terminal.Close()
		if err == nil && state.Lflag&unix.ECHO == 0 {
			return
		}
	}
	t.Fatal("pkttyagent does not switch the echo off")
}
