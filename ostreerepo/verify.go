package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// ErrSignature says that a commit has no signature that a remote accepts, or that the remote is
// none that could accept one.
var ErrSignature = errors.New("signature refused")

const (
	// maxDetached is how many bytes of detached metadata are looked at. Signatures take some
	// hundred bytes each.
	maxDetached = 10 << 20
	// maxVerifyText bounds what VerifyCommit says, in bytes.
	maxVerifyText = 64 << 10
	// verifyTimeout is how long one command of a verification may take. A check of one signature
	// takes some 30 ms.
	verifyTimeout = 2 * time.Minute
)

// VerifyCommit checks the signatures of a commit that need not be in the repository, as libostree
// would when it pulls it from the remote: with the keys and the options gpg-verify, gpgkeypath,
// sign-verify and verification-* of the remote, which the repository's configuration or, for the
// host's repository, a file in /etc/ostree/remotes.d holds. Where gpg-verify and sign-verify both
// ask for signatures there must be one of each kind. Options that say where the remote is, or ask
// for a signed summary, mean nothing here; it need not have an address.
//
// commit is the commit object, detached its detached metadata, both as they are stored. text says
// for a person which signatures there are; it is UTF-8 without control characters other than line
// feeds, of at most 64 KiB. Nothing is written outside the repository's tmp/, and nothing stays
// there.
//
// Errors: ErrSignature when the commit is not signed as the remote asks for, when the remote is not
// known, and when it asks for no signature at all, which must not pass for a verification;
// ErrNoSpace, ErrReadOnly, ErrToolMissing.
func (r *Repo) VerifyCommit(ctx context.Context, remote string, commit, detached []byte) (text string, err error) {
	err = checkSigned(commit, detached)
	if err == nil {
		err = r.withVerifier(remote, func(v *verifier) error {
			text, err = v.verify(ctx, commit, detached)
			return err
		})
	}
	if err != nil {
		return "", fmt.Errorf("verify commit: %w", withCause(err))
	}
	return text, nil
}

// CheckRemote reports whether VerifyCommit can do anything with the remote, so that this is known
// before a commit is there. Errors: those of VerifyCommit, ErrSignature being that the remote is
// not known or asks for no signature.
func (r *Repo) CheckRemote(ctx context.Context, remote string) error {
	err := r.withVerifier(remote, func(v *verifier) error { return v.checkControl(ctx) })
	if err != nil {
		return fmt.Errorf("check remote: %w", withCause(err))
	}
	return nil
}

func checkSigned(commit, detached []byte) error {
	switch {
	case len(commit) > maxMetadata:
		return fmt.Errorf("%w: the commit has %d bytes, at most %d are read", ErrSignature, len(commit), maxMetadata)
	case len(detached) > maxDetached:
		return fmt.Errorf("%w: the detached metadata has %d bytes, at most %d are read", ErrSignature, len(detached), maxDetached)
	case len(detached) == 0: // also an empty dictionary
		return fmt.Errorf("%w: the commit has no detached metadata, and so no signature: have it signed, with `ostree gpg-sign` for example", ErrSignature)
	}
	if _, err := objects.ParseCommit(commit); err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if _, err := objects.ParseDict(detached); err != nil {
		return fmt.Errorf("%w: the detached metadata is malformed: %w", ErrSignature, err)
	}
	return nil
}

// verifier has libostree verify commits: each is put into a repository of its own, and pulled from
// there into another, which knows the remote with its keys. Only such a pull honours everything
// that a remote can be configured with.
//
//	staging/1/source   the commit and its detached metadata
//	staging/1/target   [remote "NAME"] with the options that are about commit signatures; the keyring
//
// The repository itself is not made the target's parent, though that would hand down the remote:
// with it would come options that keep ostree from pulling from anywhere but the remote's own
// place, or at all.
type verifier struct {
	repo    *Repo
	remote  remote
	staging *Staging // whose directory holds everything
	pulls   int
}

func (r *Repo) withVerifier(name string, do func(*verifier) error) error {
	found, err := findRemote(r.path, "/", name)
	if err != nil {
		return err
	}
	s, err := r.newStaging()
	if err != nil {
		return err
	}
	return errors.Join(do(&verifier{repo: r, remote: found, staging: s}), s.Close())
}

func (v *verifier) verify(ctx context.Context, commit, detached []byte) (text string, err error) {
	if err := v.checkControl(ctx); err != nil {
		return "", err
	}
	target, err := v.pull(ctx, commit, detached)
	if err != nil {
		return "", err
	}
	return v.describe(ctx, target, objects.ChecksumOf(commit)), nil
}

// checkControl fails unless a commit without a signature is refused. That is not so when the
// remote's options are off, nor when libostree was built without the kind of signatures that they
// ask for: without GPG it ignores gpg-verify.
func (v *verifier) checkControl(ctx context.Context) error {
	unsigned := objects.Commit{Subject: "nobody signed this"}
	_, err := v.pull(ctx, unsigned.Marshal(), nil)
	if errors.Is(err, ErrSignature) {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("%w: the remote %q asks for no signature that this ostree can check: set gpg-verify=true, or sign-verify and a key, in its configuration",
			ErrSignature, v.remote.name)
	}
	return err
}

// pull has the commit verified and returns the path of the repository that it is in then. Errors:
// ErrSignature.
func (v *verifier) pull(ctx context.Context, commit, detached []byte) (target string, err error) {
	v.pulls++
	dir := fmt.Sprintf("%s/%d", v.staging.path, v.pulls)
	source, target := dir+"/source", dir+"/target"
	c := objects.ChecksumOf(commit)
	if err := makeScratch(source, ""); err != nil {
		return "", err
	}
	if err := writeScratch(source, objects.KindCommit, c, commit); err != nil {
		return "", err
	}
	if detached != nil {
		if err := writeScratch(source, objects.KindCommitMeta, c, detached); err != nil {
			return "", err
		}
	}
	if err := makeScratch(target, v.remote.group()); err != nil {
		return "", err
	}
	if v.remote.keyring != "" {
		if err := os.Symlink(v.remote.keyring, target+"/"+keyringName(v.remote.name)); err != nil {
			return "", err
		}
	}
	from := url.URL{Scheme: "file", Path: source}
	_, err = v.ostree(ctx, "pull", "--repo="+target, "--url="+from.String(), "--commit-metadata-only", "--depth=0",
		"--disable-fsync", "--disable-verify-bindings", v.remote.name, c.String())
	return target, v.refusal(err)
}

// refusal makes what a pull failed with ErrSignature, unless it had another cause.
func (v *verifier) refusal(err error) error {
	var failed *command.Error
	if !errors.As(err, &failed) || failed.ExitCode < 0 || errors.Is(err, ErrNoSpace) || errors.Is(err, ErrReadOnly) {
		return err
	}
	hint := ""
	if strings.Contains(failed.Stderr, "public key not found") {
		hint = "; `ostree remote gpg-import` adds a key to those that the remote accepts"
	}
	failed.Stderr = strings.Join(strings.Fields(failed.Stderr), " ")
	return fmt.Errorf("%w by the remote %q: %w%s", ErrSignature, v.remote.name, failed, hint)
}

// makeScratch makes a repository that needs nothing of the host.
func makeScratch(path, config string) error {
	for _, dir := range []string{"objects", "refs/heads", "tmp"} {
		if err := os.MkdirAll(filepath.Join(path, dir), 0o755); err != nil {
			return err
		}
	}
	const core = "[core]\nrepo_version=1\nmode=archive-z2\nmin-free-space-percent=0\n"
	return os.WriteFile(path+"/config", []byte(core+config), 0o644)
}

func writeScratch(repo string, kind objects.Kind, c objects.Checksum, b []byte) error {
	path := repo + "/objects/" + loosePath(kind, c, ModeArchive)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}

// ostree runs a subcommand. For GPG, libostree makes a directory where TMPDIR says.
func (v *verifier) ostree(ctx context.Context, args ...string) (string, error) {
	tooLong := fmt.Errorf("it was still running after %s", verifyTimeout)
	ctx, cancel := context.WithTimeoutCause(ctx, verifyTimeout, tooLong)
	defer cancel()
	return run(ctx, v.repo.command, []string{"TMPDIR=" + v.staging.path + "/tmp"}, args...)
}

// describe says what signatures the commit in target has, in libostree's words. That they are good
// is known already, so that a command which can't tell more about them is no error.
func (v *verifier) describe(ctx context.Context, target string, c objects.Checksum) string {
	var lines []string
	if !isFalse(v.remote.options["gpg-verify"]) {
		out, err := v.ostree(ctx, "show", "--repo="+target, "--gpg-verify-remote="+v.remote.name, c.String())
		if err == nil {
			lines = append(lines, signatureLines(out)...)
		}
	}
	for _, option := range slices.Sorted(maps.Keys(v.remote.options)) {
		api, value := strings.TrimPrefix(option, verificationPrefix), v.remote.options[option]
		if name, ok := strings.CutSuffix(api, "-file"); ok {
			api, value = name, "--keys-file="+value
		} else if api, ok = strings.CutSuffix(api, "-key"); !ok {
			continue
		}
		if isFalse(v.remote.options["sign-verify"]) {
			continue
		}
		out, err := v.ostree(ctx, "sign", "--repo="+target, "--verify", "--sign-type="+api, c.String(), value)
		if err == nil {
			lines = append(lines, strings.Split(out, "\n")...)
		}
	}
	if len(lines) == 0 {
		lines = []string{"The remote " + v.remote.name + " accepts the signature."}
	}
	return printable(strings.Join(lines, "\n"))
}

// signatureLines returns what `ostree show` says about signatures, which comes last: what is before
// it is the commit's own text, and could look the same.
func signatureLines(shown string) []string {
	if at := strings.LastIndex("\n"+shown, "\nFound "); at >= 0 {
		_, shown, _ = strings.Cut(shown[at:], "\n")
	}
	var lines []string
	for line := range strings.Lines(shown) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// printable makes a text that commands put together from keys and signatures fit for a terminal.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r != '\n' && unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > maxVerifyText {
		text = strings.ToValidUTF8(text[:maxVerifyText], "")
	}
	return text
}
