package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// What people see fits on their terminals: the progress, which leaves nothing behind, and tables.
func TestNarrowTerminals(t *testing.T) {
	s := newStage(t, fixture.DaemonOptions{})
	for _, columns := range []int{40, 80} {
		t.Run(fmt.Sprint(columns, " columns"), func(t *testing.T) {
			_, reference := s.push(t, fmt.Sprint(columns), files("a"), files(fmt.Sprint("b", columns)))
			pull := fixture.StartTerminal(t, s.bus.Ctl(t, "pull", "--tls-verify=false", reference), columns, 24)
			if code := pull.Wait(t); code != 0 {
				t.Fatalf("pull exits %d", code)
			}
			lines := strings.Split(pull.Screen(), "\n")
			if !strings.Contains(lines[0], "of 2 layers present, ") || !strings.HasPrefix(lines[1], "imported docker://") {
				t.Errorf("pull leaves\n%s", pull.Screen())
			}
			for _, screen := range pull.Screens() {
				if strings.Contains(screen, "100 %") {
					t.Errorf("all is done before the end:\n%s", screen)
				}
			}
			images := fixture.StartTerminal(t, s.bus.Ctl(t, "images"), columns, 24)
			images.Wait(t)
			lines = strings.Split(images.Screen(), "\n")
			if len(lines) < 2 || !strings.HasPrefix(lines[0], "IMAGE ") {
				t.Fatalf("images shows\n%s", images.Screen())
			}
			for _, line := range lines[1:] {
				if !strings.HasPrefix(line, "docker:") || !strings.HasSuffix(line, "ok") {
					t.Errorf("a line wraps:\n%s", images.Screen())
				}
			}
		})
	}
}
