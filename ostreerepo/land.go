package ostreerepo

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// Commit reads a commit object of the staging or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (s *Staging) Commit(c objects.Checksum) (objects.Commit, error) {
	return readStaged(s, objects.KindCommit, c, objects.ParseCommit, s.repo.Commit)
}

// DirTree reads a dirtree object of the staging or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (s *Staging) DirTree(c objects.Checksum) (objects.DirTree, error) {
	return readStaged(s, objects.KindDirTree, c, objects.ParseDirTree, s.repo.DirTree)
}

// DirMeta reads a dirmeta object of the staging or of the repository. Errors: ErrNoObject,
// ErrCorrupted.
func (s *Staging) DirMeta(c objects.Checksum) (objects.DirMeta, error) {
	return readStaged(s, objects.KindDirMeta, c, objects.ParseDirMeta, s.repo.DirMeta)
}

// Detached reads the detached metadata of a commit that the staging or the repository has. Errors:
// as for Repo.Detached.
func (s *Staging) Detached(c objects.Checksum) (objects.Dict, error) {
	b, err := readObject(s.objectPath, objects.KindCommitMeta, c)
	if errors.Is(err, ErrNoObject) {
		return s.repo.Detached(c)
	}
	if err != nil {
		return nil, err
	}
	dict, err := objects.ParseDict(b)
	if err != nil {
		return nil, corrupted(objects.KindCommitMeta, c, err)
	}
	return dict, nil
}

func readStaged[T any](
	s *Staging, kind objects.Kind, c objects.Checksum, parse func([]byte) (T, error), landed func(objects.Checksum) (T, error),
) (T, error) {
	v, err := readMetadata(s.objectPath, kind, c, parse)
	if errors.Is(err, ErrNoObject) {
		return landed(c)
	}
	return v, err
}

func (s *Staging) objectPath(kind objects.Kind, c objects.Checksum) string {
	return s.path + "/objects/" + loosePath(kind, c, s.repo.config.mode)
}

// SetRef sets a ref in the staging, to a commit that the staging or the repository has. Land takes
// it along.
func (s *Staging) SetRef(ref string, c objects.Checksum) error {
	if err := s.setRef(ref, c); err != nil {
		return fmt.Errorf("set ref: %w", withCause(err))
	}
	return nil
}

func (s *Staging) setRef(ref string, c objects.Checksum) error {
	if err := checkRef(ref); err != nil {
		return err
	}
	path := filepath.Join(s.path, "refs/heads", ref)
	s.refsMu.Lock()
	defer s.refsMu.Unlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(c.String()+"\n"), 0o644); err != nil {
		return err
	}
	s.refs[ref] = c
	return nil
}

// Land brings the commits of all refs that were set, and the other commits that are named, with all
// that they reach, and then the refs themselves into the repository, in one transaction. Of a
// commit that is there it brings what is missing if the commit is marked as incomplete, and takes
// the mark away. Objects must be in the staging or in the repository; one that was there when it
// was asked for may have been pruned since, which fails the landing. The staging stays as it is.
// After an error, that of ctx included, no ref has changed, unless the command was killed while it
// wrote them; then each is either as before or as it should be. Errors: ErrNoSpace, ErrReadOnly,
// *command.Error.
func (s *Staging) Land(ctx context.Context, commits ...objects.Checksum) error {
	s.refsMu.Lock()
	refs := slices.Sorted(maps.Keys(s.refs))
	s.refsMu.Unlock()
	if len(refs)+len(commits) == 0 {
		return errors.New("land: no ref is set")
	}
	crashpoint.Pass("land begun")
	for _, ref := range refs {
		if err := s.repo.deleteBrokenRef(ctx, ref); err != nil {
			return fmt.Errorf("land: %w", err)
		}
	}
	if err := s.repo.doubt(append(s.commits(refs), commits...)...); err != nil {
		return fmt.Errorf("land: %w", err)
	}
	names := refs
	for _, c := range commits {
		names = append(names, c.String())
	}
	if err := s.repo.pullLocal(ctx, s.path, names...); err != nil {
		return fmt.Errorf("land: %w", err)
	}
	crashpoint.Pass("land done")
	return nil
}

// commits gives the commits of refs.
func (s *Staging) commits(refs []string) []objects.Checksum {
	s.refsMu.Lock()
	defer s.refsMu.Unlock()
	commits := make([]objects.Checksum, 0, len(refs))
	for _, ref := range refs {
		commits = append(commits, s.refs[ref])
	}
	return commits
}

// LandDetached brings the detached metadata that were written of a commit of the repository there,
// and no refs. Errors: as for Land.
func (s *Staging) LandDetached(ctx context.Context, c objects.Checksum) error {
	if err := s.repo.pullLocal(ctx, s.path, c.String()); err != nil {
		return fmt.Errorf("land detached metadata: %w", err)
	}
	return nil
}

// landAttempts is how often a landing is tried that another program's transaction keeps from
// starting.
const landAttempts = 5

// uriPath escapes what pull-local takes for more than a path: it makes a URI of its argument as
// that stands.
var uriPath = strings.NewReplacer("%", "%25", "#", "%23", "?", "%3F")

// pullLocal pulls refs and commits from the repository at a path, one pull at a time. A transaction
// that starts looks through the directories that others use, and fails when one of them ends at
// that moment; with a transaction of another program that is cured by trying again.
func (r *Repo) pullLocal(ctx context.Context, from string, names ...string) error {
	// The names that a commit's author bound it to mean nothing for our refs.
	args := append([]string{"--disable-verify-bindings", uriPath.Replace(from)}, names...)
	select {
	case r.landing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-r.landing }()
	for attempt := 1; ; attempt++ {
		err := r.ostree(ctx, "pull-local", args...)
		var failed *command.Error
		if attempt == landAttempts || !errors.As(err, &failed) || !strings.Contains(failed.Stderr, "opendir(staging-") {
			return err
		}
		r.log.WithError(err).Debug("another transaction ended while this one began, trying again")
	}
}
