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
			output, err := callAs(test.user, test.method, test.args...)
			if refused(output, err) != test.refused || !test.refused && err != nil {
				t.Errorf("%s of %s: %v: %s", test.method, test.user, err, output)
			}
		})
	}
}

// TestDocumentedRule gives polkit the rule that docs/dbus-api.md shows.
func TestDocumentedRule(t *testing.T) {
	text, err := os.ReadFile("dbus-api.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rule, _ := strings.Cut(string(text), "```js\n")
	rule, _, found := strings.Cut(rule, "```")
	if !found {
		t.Fatal("dbus-api.md has no rule")
	}
	run(t, "useradd", "updater")
	setRules(t, rule)
	const permitted, other = "docker://registry.example.com/example/os:1", "docker://registry.example.com/other/os:1"
	for _, test := range []struct {
		name, method string
		args         []string
		refused      bool
	}{
		{"an image of the registry", "Import", []string{"sa{sv}", permitted, "0"}, false},
		{"its commit", "Unencapsulate", []string{"sa{sv}", permitted, "0"}, false},
		{"an image beside", "Import", []string{"sa{sv}", other, "0"}, true},
		{"a file", "Import", []string{"sa{sv}", "oci:/srv/x", "0"}, true},
		{"credentials of one's own", "Import", []string{"sa{sv}", permitted, "1", "auth-anonymous", "b", "true"}, true},
		{"repair of several images", "Verify", []string{"asa{sv}", "2", permitted, other, "1", "repair", "b", "true"}, true},
		{"repair of all images", "Verify", []string{"asa{sv}", "0", "1", "repair", "b", "true"}, true},
		{"collection", "Prune", []string{"sa{sv}", "layers", "0"}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			output, err := callAs("updater", test.method, test.args...)
			if refused(output, err) != test.refused || !test.refused && err != nil {
				t.Errorf("%v: %s", err, output)
			}
		})
	}
	if said, err := try("journalctl", "--unit=polkit.service", "--grep=TypeError", "--quiet"); err == nil {
		t.Errorf("a rule failed: %s", said)
	}
}

// callAs calls a method of the manager as a user.
func callAs(user, method string, args ...string) (output string, err error) {
	command := []string{"--user=" + user, "--", "busctl", "call", dbus.BusName, rootPath, managerInterface, method}
	return try("runuser", append(command, args...)...)
}

// refused tells from what busctl said whether the caller was not authorized. It shows these words
// in place of AccessDenied's own.
func refused(output string, err error) bool {
	return err != nil && (strings.Contains(output, "Access denied") || strings.Contains(output, "authentication required"))
}

// grant lets a user do an action until the end of the test.
func grant(t *testing.T, user, action string) {
	t.Helper()
	setRules(t, `polkit.addRule(function(action, subject) {
	if (action.id == "`+action+`" && subject.user == "`+user+`") return polkit.Result.YES;
});
`)
}

// restartPolkit has polkit read its rules, however often that was done just now.
func restartPolkit(t *testing.T) {
	t.Helper()
	_, _ = try("systemctl", "reset-failed", "polkit.service") // fails where it is not loaded
	run(t, "systemctl", "restart", "polkit.service")
}

// setRules gives polkit rules until the end of the test.
func setRules(t *testing.T, text string) {
	t.Helper()
	const rules = "/etc/polkit-1/rules.d/00-test.rules"
	if err := os.WriteFile(rules, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	restartPolkit(t)
	t.Cleanup(func() {
		if err := os.Remove(rules); err != nil {
			t.Error(err)
		}
		restartPolkit(t)
	})
}
