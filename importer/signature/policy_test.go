package signature_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/signature"
)

const (
	insecure = `{"default": [{"type": "insecureAcceptAnything"}]}`
	strict   = `{"default": [{"type": "reject"}]}`
)

// write makes a file below a directory.
func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// environment is one with the given variables, as they stand.
func environment(root string, variables map[string]string) signature.Environment {
	return signature.Environment{Root: root, Variable: func(name string) string { return variables[name] }}
}

func TestPolicyFile(t *testing.T) {
	places := []string{"named.json", "config/containers/policy.json", "home/.config/containers/policy.json", "etc/containers/policy.json", "usr/share/containers/policy.json"}
	tests := []struct {
		name      string
		variables map[string]string // their values are below the test's directory
		files     []string
		want      string
	}{
		{"nothing", nil, nil, ""},
		{"nothing but variables", map[string]string{"XDG_CONFIG_HOME": "config", "HOME": "home"}, nil, ""},
		{"named", map[string]string{"CONTAINERS_POLICY_JSON": "named.json", "XDG_CONFIG_HOME": "config", "HOME": "home"}, places, places[0]},
		{"named but missing", map[string]string{"CONTAINERS_POLICY_JSON": "named.json"}, places[1:], places[0]},
		{"configuration", map[string]string{"XDG_CONFIG_HOME": "config", "HOME": "home"}, places, places[1]},
		{"no home beside a configuration", map[string]string{"XDG_CONFIG_HOME": "config", "HOME": "home"}, places[2:], places[3]},
		{"home", map[string]string{"HOME": "home"}, places, places[2]},
		{"host", nil, places, places[3]},
		{"host, nothing of the user", map[string]string{"HOME": "home"}, places[3:], places[3]},
		{"home that is a file", map[string]string{"HOME": "named.json"}, places, places[3]},
		{"vendor", map[string]string{"HOME": "home"}, places[4:], places[4]},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for _, file := range tt.files {
				write(t, root, file, strict)
			}
			variables := map[string]string{}
			for name, value := range tt.variables {
				variables[name] = filepath.Join(root, value)
			}
			want := tt.want
			if want != "" {
				want = filepath.Join(root, want)
			}
			if got, err := signature.PolicyFile(environment(root, variables)); got != want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}

func TestPolicyFileOfThisProcess(t *testing.T) {
	t.Setenv("CONTAINERS_POLICY_JSON", "/some/policy.json")
	if got, err := signature.PolicyFile(signature.Environment{}); got != "/some/policy.json" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestPolicyFileHidden: a policy that can't be seen must not be passed over for another one.
func TestPolicyFileHidden(t *testing.T) {
	root := t.TempDir()
	write(t, root, "etc/containers/policy.json", insecure)
	home := filepath.Join(root, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(".config", filepath.Join(home, ".config")); err != nil { // a loop, for root too
		t.Fatal(err)
	}
	got, err := signature.PolicyFile(environment(root, map[string]string{"HOME": home}))
	if err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), home) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCheckPolicy(t *testing.T) {
	tests := []struct {
		name, policy string
		refusal      string // "": none
	}{
		{"rejects", strict, ""},
		{"signed", `{"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]}`, ""},
		{"two requirements", `{"default": [{"type": "insecureAcceptAnything"}, {"type": "reject"}]}`, ""},
		{"insecure somewhere", `{"default": [{"type": "reject"}], "transports": {"docker": {"": [{"type": "insecureAcceptAnything"}]}}}`, ""},
		{"insecure", insecure, `"insecureAcceptAnything" for a default`},
		{"insecure twice", `{"default": [{"type": "insecureAcceptAnything"}, {"type": "insecureAcceptAnything"}]}`, `"insecureAcceptAnything" for a default`},
		{"insecure but for a registry", `{"default": [{"type": "insecureAcceptAnything"}], "transports": {"docker": {"example.com": [{"type": "reject"}]}}}`,
			`"insecureAcceptAnything" for a default`},
		{"no default", `{}`, "no default"},
		{"empty default", `{"default": []}`, "no default"},
		{"empty file", ``, "end of JSON"},
		{"not JSON", `default: reject`, "invalid character"},
		{"another form", `{"default": "reject"}`, "cannot unmarshal"},
		{"too large", strict + strings.Repeat(" ", 1<<20), "larger than"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := write(t, t.TempDir(), "policy.json", tt.policy)
			checkRefusal(t, signature.CheckPolicy(environment("", map[string]string{"CONTAINERS_POLICY_JSON": path})), tt.refusal, path)
		})
	}
}

func TestCheckPolicyOfNoFile(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, refusal := range map[string]string{"fifo": "not a regular file", "": "not a regular file", "missing": "no such file"} {
		path := filepath.Join(dir, name)
		checkRefusal(t, signature.CheckPolicy(environment("", map[string]string{"CONTAINERS_POLICY_JSON": path})), refusal, path)
	}
	checkRefusal(t, signature.CheckPolicy(environment(dir, nil)), "there is none", "/etc/containers/policy.json")
}

// checkRefusal asserts that an error is a refusal with a text that names the file, or nil if no
// text is wanted.
func checkRefusal(t *testing.T, err error, text, file string) {
	t.Helper()
	switch {
	case text == "" && err == nil:
	case text == "" || !errors.Is(err, signature.ErrRefused) || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), file):
		t.Errorf("got %v, want a refusal with %q that names %s", err, text, file)
	}
}
