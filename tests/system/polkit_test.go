//go:build system

package system

import (
	"os"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/dbus"
)

func TestUnprivilegedCallers(t *testing.T) {
	image := newSite(t).push(t, "polkit:1", noise("usr/lib/blob", 4096)).reference
	grant(t, "games", "org.ostree.import1.import")

	tests := []struct {
		name    string
		user    string
		method  string
		args    []string
		refused bool
	}{
		{"anybody may list images", "nobody", "ListImages", nil, false},
		{"anybody may list jobs", "nobody", "ListJobs", nil, false},
		{"nobody may import", "nobody", "Import", []string{"sa{sv}", image, "1", "wait", "b", "true"}, true},
		{"nobody may prepare", "nobody", "Prepare", []string{"sa{sv}", image, "0"}, true},
		{"a rule may allow imports", "games", "Import", []string{"sa{sv}", image, "1", "wait", "b", "true"}, false},
		{"imports imply prepare", "games", "Prepare", []string{"sa{sv}", image, "0"}, false},
		{"but not files that root can read", "games", "Import", []string{"sa{sv}", "oci:/root/layout", "1", "wait", "b", "true"}, true},
		{"nor a credential file", "games", "Import", []string{"sa{sv}", image, "1", "authfile", "s", "/root/auth.json"}, true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			command := []string{"--user=" + test.user, "--", "busctl", "call", dbus.BusName, rootPath, managerInterface, test.method}
			output, err := try("runuser", append(command, test.args...)...)
			// busctl shows these words in place of AccessDenied's own.
			refused := err != nil && (strings.Contains(output, "Access denied") || strings.Contains(output, "authentication required"))
			if refused != test.refused || !refused && err != nil {
				t.Errorf("%s of %s: %v: %s", test.method, test.user, err, output)
			}
		})
	}
}

// grant lets a user do an action until the end of the test.
func grant(t *testing.T, user, action string) {
	t.Helper()
	const rules = "/etc/polkit-1/rules.d/00-test.rules"
	text := `polkit.addRule(function(action, subject) {
	if (action.id == "` + action + `" && subject.user == "` + user + `") return polkit.Result.YES;
});
`
	if err := os.WriteFile(rules, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, "systemctl", "restart", "polkit.service")
	t.Cleanup(func() {
		if err := os.Remove(rules); err != nil {
			t.Error(err)
		}
		run(t, "systemctl", "restart", "polkit.service")
	})
}
