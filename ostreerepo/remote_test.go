package ostreerepo

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestFindRemote is about places that only a host has; TestVerifyCommitGPG compares the others with
// what ostree itself finds.
func TestFindRemote(t *testing.T) {
	const core = "[core]\nrepo_version=1\n"
	tests := []struct {
		name    string
		files   map[string]string // below the host's root
		options map[string]string // nil: not known
		keyring string            // below the root
	}{
		{"unknown", map[string]string{"ostree/repo/config": core}, nil, ""},
		{"of the repository", map[string]string{
			"ostree/repo/config":             core + "[remote \"r\"]\nurl=u\ngpg-verify = false \n[remote \"other\"]\nurl=v\n",
			"ostree/repo/r.trustedkeys.gpg":  "",
			"ostree/repo/rr.trustedkeys.gpg": "",
		}, map[string]string{"url": "u", "gpg-verify": "false"}, "ostree/repo/r.trustedkeys.gpg"},
		{"of the host", map[string]string{
			"ostree/repo/config":                     core,
			"etc/ostree/remotes.d/some.conf":         "[remote \"r\"]\nurl=u\nsign-verify=ed25519\n[core]\nparent=/nowhere\n",
			"etc/ostree/remotes.d/some.backup":       "[remote \"r\"]\ngpg-verify=false\n",
			"etc/ostree/remotes.d/r.trustedkeys.gpg": "",
		}, map[string]string{"url": "u", "sign-verify": "ed25519"}, "etc/ostree/remotes.d/r.trustedkeys.gpg"},
		{"keys in both places", map[string]string{
			"ostree/repo/config":                     core,
			"ostree/repo/r.trustedkeys.gpg":          "",
			"etc/ostree/remotes.d/some.conf":         "[remote \"r\"]\nurl=u\n",
			"etc/ostree/remotes.d/r.trustedkeys.gpg": "",
		}, map[string]string{"url": "u"}, "ostree/repo/r.trustedkeys.gpg"},
		{"not of this repository", map[string]string{
			"ostree/repo":                    "",
			"repo/config":                    core,
			"etc/ostree/remotes.d/some.conf": "[remote \"r\"]\nurl=u\n",
		}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			for name, text := range tt.files {
				path := filepath.Join(root, name)
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			repo := filepath.Join(root, "ostree/repo")
			if _, elsewhere := tt.files["repo/config"]; elsewhere {
				repo = filepath.Join(root, "repo")
			}
			got, err := findRemote(repo, root, "r")
			if tt.options == nil {
				if !errors.Is(err, ErrSignature) {
					t.Errorf("got %v, %v", got, err)
				}
				return
			}
			keyring := strings.TrimPrefix(got.keyring, root+"/")
			if err != nil || !maps.Equal(got.options, tt.options) || keyring != tt.keyring {
				t.Errorf("got %v, %v, want %v, %s", got, err, tt.options, tt.keyring)
			}
		})
	}
}

// TestFindRemoteParents: repositories that are their own parents must not keep anybody busy.
func TestFindRemoteParents(t *testing.T) {
	repo := t.TempDir()
	text := "[core]\nrepo_version=1\nparent=" + repo + "\n[remote \"r\"]\nurl=u\n"
	if err := os.WriteFile(repo+"/config", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := findRemote(repo, "/", "r"); err != nil || got.options["url"] != "u" {
		t.Errorf("got %v, %v", got, err)
	}
	if err := os.Remove(repo + "/config"); err != nil {
		t.Fatal(err)
	}
	if _, err := findRemote(repo, "/", "r"); err == nil || errors.Is(err, ErrSignature) {
		t.Errorf("without a configuration: %v", err)
	}
}

// TestFindRemoteKeyring: a keyring that can't be looked at must not be passed over, since then
// other keys would count.
func TestFindRemoteKeyring(t *testing.T) {
	repo := t.TempDir()
	if err := os.WriteFile(repo+"/config", []byte("[core]\nrepo_version=1\n[remote \"r\"]\nurl=u\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("r.trustedkeys.gpg", repo+"/r.trustedkeys.gpg"); err != nil { // a loop
		t.Fatal(err)
	}
	if got, err := findRemote(repo, "/", "r"); err == nil {
		t.Errorf("got %v", got)
	}
}
