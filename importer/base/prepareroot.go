package base

import (
	"errors"
	"fmt"
	"io"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// prepareRootPaths are where a commit may have the configuration of the program that sets up the
// root directory when a host boots. The first that exists counts.
//
// These are the paths of ostree-ext, which knows nothing of usr/etc, where a commit has the image's
// /etc: layers must be filtered as bootc filters them, or the same image would be another tree
// here. Nor could usr/etc have the last word. It is only what a host's own /etc is made from, while
// a setting in usr/lib goes into the initramfs that it is for.
var prepareRootPaths = []string{"etc/ostree/prepare-root.conf", "usr/lib/ostree/prepare-root.conf"}

// maxConfig bounds the configuration, in bytes.
const maxConfig = 64 << 10

// onlyUsr tells whether a host that boots the tree has nothing outside /usr, /etc and /var: its
// root directory comes neither from composefs nor from a writable overlay.
func onlyUsr(repo *ostreerepo.Repo, root objects.Checksum) (bool, error) {
	for _, path := range prepareRootPaths {
		found, err := ostreerepo.Lookup(repo, root, path)
		if err != nil {
			return false, err
		}
		if !found.Exists() {
			continue
		}
		text, err := readConfig(repo, found)
		if err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		whole, err := keepsWholeRoot(text)
		if err != nil {
			return false, fmt.Errorf("%s: %w", path, err)
		}
		return !whole, nil
	}
	return true, nil
}

func readConfig(repo *ostreerepo.Repo, found ostreerepo.Found) (string, error) {
	if found.IsDir() {
		return "", errors.New("it is a directory, not a file")
	}
	header, content, err := repo.OpenFile(found.File)
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(content, maxConfig+1))
	switch err := errors.Join(err, content.Close()); {
	case err != nil:
		return "", err
	case header.IsSymlink():
		return "", errors.New("it is a symbolic link; an image needs a regular file there")
	case len(b) > maxConfig:
		return "", fmt.Errorf("it has more than %d bytes", maxConfig)
	}
	return string(b), nil
}

// keepsWholeRoot reads the configuration. A value that has no meaning is an error, because the host
// would not boot with it.
func keepsWholeRoot(text string) (bool, error) {
	transient, err := setting(text, "root", "transient", map[string]bool{"": false, "false": false, "0": false, "true": true, "1": true})
	if err != nil {
		return false, err
	}
	composefs, err := setting(text, "composefs", "enabled", map[string]bool{
		"": false, "no": false, "false": false, "0": false, "yes": true, "true": true, "1": true, "maybe": true, "signed": true, "verity": true,
	})
	return transient || composefs, err
}

// setting gives the meaning of a key's value. The empty text stands for a key that is not there;
// one without a value has no meaning.
func setting(text, group, key string, meanings map[string]bool) (bool, error) {
	value, there := ostreerepo.KeyFileGroup(text, group)[key]
	meaning, known := meanings[value]
	if !known || there && value == "" {
		return false, fmt.Errorf("[%s] %s has the value %.100q, which means nothing to ostree; correct it in the base image", group, key, value)
	}
	return meaning, nil
}
