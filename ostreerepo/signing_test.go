package ostreerepo_test

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// gpgKey is a key pair in a directory of its own.
type gpgKey struct {
	home, fingerprint string
}

// newKey makes a key. With a time, as gpg takes it for --faked-system-time, that is when the key is
// made and used, and it is good for a day.
func newKey(t testing.TB, user, at string) gpgKey {
	t.Helper()
	for _, name := range []string{"gpg", "gpg-agent", "gpgconf"} {
		needs.Tool(t, name)
	}
	home, err := os.MkdirTemp("", "gpg") // the path of a socket there must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		runTool(t, "gpgconf", "--homedir", home, "--kill", "all")
		os.RemoveAll(home)
	})
	expires := "never"
	if at != "" {
		expires = "1d"
		if err := os.WriteFile(home+"/gpg.conf", []byte("faked-system-time "+at+"!\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := gpgKey{home: home}
	k.gpg(t, "--passphrase", "", "--quick-gen-key", user, "ed25519", "sign", expires)
	for line := range strings.Lines(k.gpg(t, "--with-colons", "--list-keys")) {
		if fields := strings.Split(line, ":"); fields[0] == "fpr" {
			k.fingerprint = fields[9]
		}
	}
	return k
}

func (k gpgKey) gpg(t testing.TB, args ...string) string {
	t.Helper()
	return runTool(t, "gpg", append([]string{"--batch", "--quiet", "--homedir", k.home}, args...)...)
}

// export writes the public key to a file and returns its path.
func (k gpgKey) export(t testing.TB, options ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	k.gpg(t, append(options, "--output", path, "--export", k.fingerprint)...)
	return path
}

// revoke makes the key a revoked one, by the certificate that gpg wrote when it made the key.
func (k gpgKey) revoke(t testing.TB) {
	t.Helper()
	path := k.home + "/openpgp-revocs.d/" + k.fingerprint + ".rev"
	certificate, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	certificate = bytes.ReplaceAll(certificate, []byte(":-----BEGIN"), []byte("-----BEGIN")) // a colon keeps it from being used by mistake
	if err := os.WriteFile(path, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	k.gpg(t, "--import", path)
}

// signed is a commit with its detached metadata.
type signed struct{ commit, detached []byte }

// origin is a repository in which commits are made and signed.
type origin struct{ path, tree string }

func newOrigin(t testing.TB) origin {
	t.Helper()
	o := origin{path: newRepo(t, ostreerepo.ModeArchive).Path(), tree: t.TempDir()}
	if err := os.WriteFile(o.tree+"/file", []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	return o
}

// commit makes a commit and signs it with the keys.
func (o origin) commit(t testing.TB, subject string, keys ...gpgKey) (checksum string) {
	t.Helper()
	c := runTool(t, "ostree", "commit", "--repo="+o.path, "--branch=os", "--subject="+subject, "--tree=dir="+o.tree)
	for _, k := range keys {
		runTool(t, "ostree", "gpg-sign", "--repo="+o.path, "--gpg-homedir="+k.home, c, k.fingerprint)
	}
	return c
}

// sign signs a commit with a key of another kind.
func (o origin) sign(t testing.TB, checksum, kind, key string) {
	t.Helper()
	runTool(t, "ostree", "sign", "--repo="+o.path, "--sign-type="+kind, checksum, key)
}

// read returns a commit as it would come in an image.
func (o origin) read(t testing.TB, checksum string) signed {
	t.Helper()
	path := o.path + "/objects/" + checksum[:2] + "/" + checksum[2:]
	commit, err := os.ReadFile(path + ".commit")
	if err != nil {
		t.Fatal(err)
	}
	detached, err := os.ReadFile(path + ".commitmeta")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return signed{commit, detached}
}

// addRemote adds a remote. It is nowhere.
func addRemote(t testing.TB, repo *ostreerepo.Repo, name string, options ...string) {
	t.Helper()
	runTool(t, "ostree", append(append([]string{"remote", "add", "--repo=" + repo.Path()}, options...), name, "https://nowhere.invalid/")...)
}

// tampered returns the commit with another subject.
func tampered(t testing.TB, commit []byte) []byte {
	t.Helper()
	c, err := objects.ParseCommit(commit)
	if err != nil {
		t.Fatal(err)
	}
	c.Subject += "!"
	return c.Marshal()
}

// gpgSignatures returns detached metadata with the given bytes, and a NUL each, for GPG signatures.
func gpgSignatures(signatures ...string) []byte {
	return objects.Dict{"ostree.gpgsigs": {Type: "aay", Data: objects.Strings(signatures).Data}}.Marshal()
}
