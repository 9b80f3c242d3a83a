package importer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// initModes are the modes that a repository can be made in: those that images can be imported into.
var initModes = []ostreerepo.Mode{ostreerepo.ModeBare, ostreerepo.ModeBareUser, ostreerepo.ModeArchive}

// repositoryFiles are the names of what `ostree init` makes in a repository. A directory that holds
// nothing else is empty, or one in which it was interrupted.
var repositoryFiles = []string{".lock", "config", "extensions", "objects", "refs", "state", "tmp"}

// Init makes the repository that images are imported into, and the directories above it that are
// missing. An existing one stays as it is; that it has another mode than the request says is an
// error, and so is a directory there that holds anything else.
func Init(ctx context.Context, path string, req InitRequest) (*InitResult, error) {
	mode, err := req.mode()
	if err != nil {
		return nil, err
	}
	repo, err := ostreerepo.Open(ctx, path, ostreerepo.Options{})
	switch {
	case err == nil:
		if req.Mode != "" && repo.Mode() != mode {
			return nil, &Error{
				Kind: KindInvalidOption, Stage: StageInit,
				Err:  fmt.Errorf("the repository %s has the mode %s, not %s", repo.Path(), repo.Mode(), mode),
				Hint: "ask for no mode to keep it, or name another path",
			}
		}
		return &InitResult{Repository: repo.Path(), Mode: string(repo.Mode())}, nil
	case !errors.Is(err, ostreerepo.ErrNotRepository):
		return nil, stopped(ctx, StageInit, classify(StageInit, err))
	}
	if err := checkVacant(path); err != nil {
		return nil, classify(StageInit, err)
	}
	if repo, err = ostreerepo.Create(ctx, path, mode, ostreerepo.Options{}); err != nil {
		return nil, stopped(ctx, StageInit, classify(StageInit, err))
	}
	return &InitResult{Repository: repo.Path(), Mode: string(repo.Mode()), Created: true}, nil
}

// mode returns the mode that is asked for.
func (r InitRequest) mode() (ostreerepo.Mode, error) {
	mode := ostreerepo.Mode(r.Mode)
	if mode == "" && os.Geteuid() == 0 {
		return ostreerepo.ModeBare, nil
	}
	if mode == "" {
		return ostreerepo.ModeBareUser, nil
	}
	if !slices.Contains(initModes, mode) {
		return "", &Error{
			Kind: KindInvalidOption, Stage: StageInit,
			Err: fmt.Errorf("a repository of the mode %q takes no images: it has to be %s", r.Mode, joinModes()),
		}
	}
	return mode, nil
}

func joinModes() string {
	names := make([]string, len(initModes))
	for i, mode := range initModes {
		names[i] = string(mode)
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " or " + names[last]
}

// checkVacant returns an error if there is something at path that a repository would be mixed with.
func checkVacant(path string) error {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if !slices.Contains(repositoryFiles, entry.Name()) {
			return &Error{
				Kind: KindNotAvailable, Stage: StageInit,
				Err:  fmt.Errorf("%s is no repository, and holds %s", path, filepath.Base(entry.Name())),
				Hint: "name another path, or move what is there away",
			}
		}
	}
	return nil
}
