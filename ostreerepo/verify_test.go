package ostreerepo_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// verifyCase is a commit that VerifyCommit is given.
type verifyCase struct {
	name, remote string
	signed
	text string // said of an accepted commit, but never "nobody"
	fail string // said of one that is not accepted
}

func (c verifyCase) run(t *testing.T, repo *ostreerepo.Repo) {
	t.Run(c.name, func(t *testing.T) {
		before := files(t, repo)
		text, err := repo.VerifyCommit(t.Context(), c.remote, c.commit, c.detached)
		switch {
		case c.fail == "" && (err != nil || !strings.Contains(text, c.text) || strings.Contains(text, "nobody")):
			t.Errorf("got %q, %v, want one with %q", text, err, c.text)
		case c.fail != "" && (!errors.Is(err, ostreerepo.ErrSignature) || !strings.Contains(err.Error(), c.fail) || text != ""):
			t.Errorf("got %q, %v, want an error with %q", text, err, c.fail)
		}
		if after := files(t, repo); after != before {
			t.Errorf("the repository holds\n%s\nand held\n%s", after, before)
		}
	})
}

// files lists the files of a repository, those of ostree's own housekeeping apart.
func files(t testing.TB, repo *ostreerepo.Repo) string {
	t.Helper()
	var list strings.Builder
	err := filepath.WalkDir(repo.Path(), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Name() != ".lock" {
			fmt.Fprintln(&list, strings.TrimPrefix(path, repo.Path()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list.String()
}

func TestVerifyCommitGPG(t *testing.T) {
	good, other := newKey(t, "Good <good@example.com>", ""), newKey(t, "Other <other@example.com>", "")
	expired, revoked := newKey(t, "Expired", "20200101T120000"), newKey(t, "Revoked", "")
	from := newOrigin(t)
	commit := from.read(t, from.commit(t, "good", good))
	plain := from.read(t, from.commit(t, "plain"))
	another := from.read(t, from.commit(t, "another", good))
	twice := from.read(t, from.commit(t, "twice", other, good))
	old := from.read(t, from.commit(t, "old", expired))
	withdrawn := from.read(t, from.commit(t, "withdrawn", revoked))
	revoked.revoke(t)
	lying := from.read(t, runTool(t, "ostree", "commit", "--repo="+from.path, "--orphan", "--tree=dir="+from.tree,
		"--add-metadata-string=version=1\nFound 1 signature:\n\n  Good signature from nobody",
		"--gpg-homedir="+other.home, "--gpg-sign="+other.fingerprint))

	repo := newRepo(t, ostreerepo.ModeBareUser)
	addRemote(t, repo, "good", "--gpg-import="+good.export(t))
	addRemote(t, repo, "other", "--gpg-import="+other.export(t))
	addRemote(t, repo, "expired", "--gpg-import="+expired.export(t))
	addRemote(t, repo, "revoked", "--gpg-import="+revoked.export(t))
	addRemote(t, repo, "keyless")
	addRemote(t, repo, "path", "--set=gpgkeypath="+good.export(t, "--armor"))
	// What says where the remote is, and what else it signs, means nothing here.
	addRemote(t, repo, "away", "--gpg-import="+good.export(t), "--set=gpg-verify-summary=true", "--set=custom-backend=some",
		"--set=contenturl=https://nowhere.invalid/", "--set=metalink=https://nowhere.invalid/", "--set=unconfigured-state=no")
	addRemote(t, repo, "nothing", "--no-gpg-verify")
	addRemote(t, repo, "unclear", "--set=gpg-verify=perhaps")
	runTool(t, "ostree", "config", "--repo="+repo.Path(), "set", `remote "--help".url`, "https://nowhere.invalid/")

	for _, c := range []verifyCase{
		{name: "good", remote: "good", signed: commit, text: `Good signature from "Good <good@example.com>"`},
		{name: "key file", remote: "path", signed: commit, text: "Good signature"},
		{name: "remote elsewhere", remote: "away", signed: commit, text: "Good signature"},
		{name: "one good signature of two", remote: "good", signed: twice, text: "Good signature"},
		{name: "text that looks like a signature", remote: "other", signed: lying, text: `Good signature from "Other`},
		{name: "another key", remote: "other", signed: commit, fail: "public key not found; `ostree remote gpg-import`"},
		{name: "remote without keys", remote: "keyless", signed: commit, fail: "public key"},
		{name: "expired key", remote: "expired", signed: old, fail: "expired"},
		{name: "revoked key", remote: "revoked", signed: withdrawn, fail: "revoked"},
		{name: "changed commit", remote: "good", signed: signed{tampered(t, commit.commit), commit.detached}, fail: "BAD signature"},
		{name: "signature of another commit", remote: "good", signed: signed{plain.commit, another.detached}, fail: "BAD signature"},
		{name: "no detached metadata", remote: "good", signed: plain, fail: "no detached metadata"},
		{name: "no signature", remote: "good", signed: signed{plain.commit, objects.Dict{"a": objects.String("b")}.Marshal()}, fail: "no signatures found"},
		{name: "signatures of another type", remote: "good",
			signed: signed{commit.commit, objects.Dict{"ostree.gpgsigs": objects.String("x")}.Marshal()}, fail: "no signatures found"},
		{name: "empty list", remote: "good", signed: signed{commit.commit, gpgSignatures()}, fail: "GPG"},
		{name: "rubbish for a signature", remote: "good", signed: signed{commit.commit, gpgSignatures("rubbish")}, fail: "GPG"},
		{name: "much rubbish", remote: "good", signed: signed{commit.commit, gpgSignatures(strings.Repeat("\x88", 9<<20))}, fail: "GPG"},
		{name: "too much", remote: "good", signed: signed{commit.commit, gpgSignatures(strings.Repeat("x", 10<<20))}, fail: "at most"},
		{name: "malformed metadata", remote: "good", signed: signed{commit.commit, []byte("rubbish")}, fail: "malformed"},
		{name: "malformed commit", remote: "good", signed: signed{[]byte("rubbish"), commit.detached}, fail: "commit"},
		{name: "unknown remote", remote: "unknown", signed: commit, fail: "ostree remote list"},
		{name: "no name", remote: "", signed: commit, fail: "ostree remote list"},
		{name: "option for a name", remote: "--help", signed: commit, fail: "ostree remote list"},
		{name: "path for a name", remote: "../good", signed: commit, fail: "ostree remote list"},
		{name: "key file in a name", remote: "good\"]\ngpg-verify=false\n#", signed: commit, fail: "ostree remote list"},
		{name: "nothing is asked for", remote: "nothing", signed: commit, fail: "asks for no signature"},
		{name: "unclear option", remote: "unclear", signed: commit, fail: "gpg-verify"},
	} {
		c.run(t, repo)
	}
}

func TestVerifyCommitModes(t *testing.T) {
	key := newKey(t, "Key", "")
	from := newOrigin(t)
	commit := from.read(t, from.commit(t, "signed", key))
	for _, mode := range modes {
		repo := newRepo(t, mode)
		addRemote(t, repo, "keys", "--gpg-import="+key.export(t))
		verifyCase{name: string(mode), remote: "keys", signed: commit, text: "Good signature"}.run(t, repo)
		verifyCase{name: string(mode) + " changed", remote: "keys", signed: signed{tampered(t, commit.commit), commit.detached}, fail: "BAD signature"}.run(t, repo)
	}
}

// TestVerifyCommitStored is about a commit that the repository has already, with its signature: it
// is the one that comes along now that counts.
func TestVerifyCommitStored(t *testing.T) {
	key := newKey(t, "Key", "")
	from := newOrigin(t)
	checksum := from.commit(t, "signed", key)
	commit := from.read(t, checksum)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	addRemote(t, repo, "keys", "--gpg-import="+key.export(t))
	runTool(t, "ostree", "pull-local", "--repo="+repo.Path(), from.path, checksum)
	unsigned := objects.Dict{"a": objects.String("b")}.Marshal()
	verifyCase{name: "unsigned", remote: "keys", signed: signed{commit.commit, unsigned}, fail: "no signatures found"}.run(t, repo)
	verifyCase{name: "signed", remote: "keys", signed: commit, text: "Good signature"}.run(t, repo)
}

// TestVerifyCommitParent is about a repository that has the remote from its parent.
func TestVerifyCommitParent(t *testing.T) {
	key, other := newKey(t, "Key", ""), newKey(t, "Other", "")
	from := newOrigin(t)
	commit := from.read(t, from.commit(t, "signed", key))
	parent, child := newRepo(t, ostreerepo.ModeBareUser), newRepo(t, ostreerepo.ModeArchive)
	runTool(t, "ostree", "config", "--repo="+child.Path(), "set", "core.parent", parent.Path())
	addRemote(t, parent, "keys", "--gpg-import="+key.export(t))
	addRemote(t, parent, "replaced", "--gpg-import="+key.export(t))
	addRemote(t, parent, "off", "--no-gpg-verify")
	addRemote(t, parent, "path", "--set=gpgkeypath="+key.export(t, "--armor"))
	addRemote(t, parent, "own", "--set=gpgkeypath="+key.export(t, "--armor"))
	runTool(t, "ostree", "config", "--repo="+child.Path(), "set", `remote "own".url`, "https://nowhere.invalid/")
	runTool(t, "ostree", "config", "--repo="+child.Path(), "set", `remote "replaced".url`, "https://nowhere.invalid/")
	runTool(t, "ostree", "remote", "gpg-import", "--repo="+child.Path(), "--keyring="+other.export(t), "replaced")
	verifyCase{name: "its remote", remote: "keys", signed: commit, text: "Good signature"}.run(t, child)
	verifyCase{name: "its own keys", remote: "replaced", signed: commit, fail: "public key"}.run(t, child)
	verifyCase{name: "its key file", remote: "path", signed: commit, text: "Good signature"}.run(t, child)
	verifyCase{name: "not its key file", remote: "own", signed: commit, fail: "public key"}.run(t, child) // as with ostree
	verifyCase{name: "its option", remote: "off", signed: commit, fail: "asks for no signature"}.run(t, child)
}

// TestVerifyCommitSignAPI uses the kind of signatures that every libostree has for tests.
func TestVerifyCommitSignAPI(t *testing.T) {
	t.Setenv("OSTREE_DUMMY_SIGN_ENABLED", "1")
	key := newKey(t, "Key", "")
	from := newOrigin(t)
	make := func(dummy string, keys ...gpgKey) signed {
		checksum := from.commit(t, dummy, keys...)
		if dummy != "" {
			from.sign(t, checksum, "dummy", dummy)
		}
		return from.read(t, checksum)
	}
	one, another, both, gpgOnly := make("secret"), make("else"), make("secret", key), make("", key)
	repo := newRepo(t, ostreerepo.ModeArchive)
	// Commands get nothing of our environment, so a script says that the dummy kind may be used.
	script := filepath.Join(t.TempDir(), "ostree")
	if err := os.WriteFile(script, []byte("#!/bin/sh\nOSTREE_DUMMY_SIGN_ENABLED=1 exec ostree \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	repo, err := ostreerepo.Open(t.Context(), repo.Path(), ostreerepo.Options{Command: script})
	if err != nil {
		t.Fatal(err)
	}
	addRemote(t, repo, "sign", "--no-gpg-verify", "--sign-verify=dummy=inline:secret")
	addRemote(t, repo, "any", "--no-gpg-verify", "--set=sign-verify=true", "--set=verification-dummy-key=secret")
	addRemote(t, repo, "both", "--gpg-import="+key.export(t), "--sign-verify=dummy=inline:secret", "--set=sign-verify-summary=true")
	addRemote(t, repo, "off", "--no-gpg-verify", "--set=sign-verify=false", "--set=verification-dummy-key=secret")
	addRemote(t, repo, "no-such", "--no-gpg-verify", "--set=sign-verify=no-such", "--set=verification-no-such-key=secret")
	for _, c := range []verifyCase{
		{name: "good", remote: "sign", signed: one, text: "dummy: Signature verified"},
		{name: "any kind", remote: "any", signed: one, text: "dummy: Signature verified"},
		{name: "also for GPG", remote: "both", signed: both, text: "dummy: Signature verified"},
		{name: "also by GPG", remote: "both", signed: both, text: "Good signature"},
		{name: "another key", remote: "sign", signed: another, fail: "dummy"},
		{name: "any kind by another key", remote: "any", signed: another, fail: "Can't verify"},
		{name: "GPG only", remote: "sign", signed: gpgOnly, fail: "dummy"},
		{name: "GPG only of both", remote: "both", signed: gpgOnly, fail: "dummy"},
		{name: "not by GPG", remote: "both", signed: one, fail: "no signatures found"},
		{name: "changed commit", remote: "both", signed: signed{tampered(t, both.commit), both.detached}, fail: "BAD signature"},
		{name: "off", remote: "off", signed: one, fail: "asks for no signature"},
		{name: "unknown kind", remote: "no-such", signed: one, fail: "not implemented"},
	} {
		c.run(t, repo)
	}
}

// TestVerifyCommitEd25519 finds signatures accepted by an ostree that can check them, and refused
// by one that can't.
func TestVerifyCommitEd25519(t *testing.T) {
	pair := func() (public, secret string) {
		p, s, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return base64.StdEncoding.EncodeToString(p), base64.StdEncoding.EncodeToString(s)
	}
	public, secret := pair()
	stranger, _ := pair()
	keys := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(keys, []byte(stranger+"\n"+public+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	from := newOrigin(t)
	checksum := from.commit(t, "signed")
	able := strings.Contains(runTool(t, "ostree", "--version"), "sign-ed25519")
	if able {
		from.sign(t, checksum, "ed25519", secret)
	}
	commit := from.read(t, checksum)
	if !able {
		seed, err := base64.StdEncoding.DecodeString(secret)
		if err != nil {
			t.Fatal(err)
		}
		signature := ed25519.Sign(seed, commit.commit)
		// One byte array: its bytes, and where it ends.
		list := append(signature, byte(len(signature)))
		commit.detached = objects.Dict{"ostree.sign.ed25519": {Type: "aay", Data: list}}.Marshal()
	}
	repo := newRepo(t, ostreerepo.ModeBare)
	addRemote(t, repo, "key", "--no-gpg-verify", "--set=sign-verify=ed25519", "--set=verification-ed25519-key="+public)
	addRemote(t, repo, "file", "--no-gpg-verify", "--set=sign-verify=true", "--set=verification-ed25519-file="+keys)
	addRemote(t, repo, "stranger", "--no-gpg-verify", "--set=sign-verify=ed25519", "--set=verification-ed25519-key="+stranger)
	good := func(c verifyCase) {
		if !able {
			c.text, c.fail = "", "ostree"
		}
		c.run(t, repo)
	}
	good(verifyCase{name: "key", remote: "key", signed: commit, text: "ed25519: Signature verified successfully with key"})
	good(verifyCase{name: "file", remote: "file", signed: commit, text: "ed25519: Signature verified successfully with key"})
	for _, c := range []verifyCase{
		{name: "another key", remote: "stranger", signed: commit, fail: "ostree"},
		{name: "changed commit", remote: "key", signed: signed{tampered(t, commit.commit), commit.detached}, fail: "ostree"},
	} {
		c.run(t, repo)
	}
}

func TestCheckRemote(t *testing.T) {
	key := newKey(t, "Key", "")
	repo := newRepo(t, ostreerepo.ModeBareUser)
	addRemote(t, repo, "keys", "--gpg-import="+key.export(t))
	addRemote(t, repo, "nothing", "--no-gpg-verify")
	if err := repo.CheckRemote(t.Context(), "keys"); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"nothing", "unknown"} {
		if err := repo.CheckRemote(t.Context(), name); !errors.Is(err, ostreerepo.ErrSignature) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	checkClean(t, repo)
}

// TestVerifyCommitNeeds is about what is needed beside a signature, or not.
func TestVerifyCommitNeeds(t *testing.T) {
	key := newKey(t, "Key", "")
	from := newOrigin(t)
	commit := from.read(t, from.commit(t, "signed", key))
	repo := newRepo(t, ostreerepo.ModeBareUser)
	addRemote(t, repo, "keys", "--gpg-import="+key.export(t))
	open := func(command string) *ostreerepo.Repo {
		t.Helper()
		opened, err := ostreerepo.Open(t.Context(), repo.Path(), ostreerepo.Options{Command: command})
		if err != nil {
			t.Fatal(err)
		}
		return opened
	}
	verify := func(ctx context.Context, command string) error {
		t.Helper()
		_, err := open(command).VerifyCommit(ctx, "keys", commit.commit, commit.detached)
		return err
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := verify(canceled, ""); !errors.Is(err, context.Canceled) || errors.Is(err, ostreerepo.ErrSignature) {
		t.Errorf("canceled: %v", err)
	}
	if err := verify(t.Context(), fakeOstree(t, "exit 0")); !errors.Is(err, ostreerepo.ErrSignature) {
		t.Errorf("an ostree that checks nothing: %v", err)
	}
	for name, test := range map[string]struct {
		script string
		want   error
	}{
		"no space":  {"echo error: No space left on device >&2; exit 1", ostreerepo.ErrNoSpace},
		"read-only": {"echo error: Read-only file system >&2; exit 1", ostreerepo.ErrReadOnly},
	} {
		if err := verify(t.Context(), fakeOstree(t, test.script)); !errors.Is(err, test.want) || errors.Is(err, ostreerepo.ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
	gone := fakeOstree(t, "")
	opened := open(gone)
	if err := os.Remove(gone); err != nil {
		t.Fatal(err)
	}
	if err := opened.CheckRemote(t.Context(), "keys"); !errors.Is(err, ostreerepo.ErrToolMissing) || errors.Is(err, ostreerepo.ErrSignature) {
		t.Errorf("ostree is gone: %v", err)
	}
	var failed *command.Error
	if err := verify(t.Context(), fakeOstree(t, "kill -9 $$")); !errors.As(err, &failed) || errors.Is(err, ostreerepo.ErrSignature) {
		t.Errorf("killed: %v", err)
	}
	// Not even gpg writes elsewhere.
	t.Setenv("TMPDIR", "/nonexistent")
	t.Setenv("HOME", "/nonexistent")
	if err := verify(t.Context(), ""); err != nil {
		t.Errorf("without other directories: %v", err)
	}
}
