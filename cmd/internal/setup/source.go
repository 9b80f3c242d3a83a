package setup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/importer/reference"
	"github.com/ostree-importd/ostree-importd/importer/signature"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/proxyclient"
)

// proxyUsers are the users that the proxy may run as when we are root: the
// first that exists.
var proxyUsers = [...]string{"ostree-importd", "nobody"}

// openSource returns an importer.OpenFunc that opens images through skopeo. It
// gives skopeo the policy that the importer looks at too: by itself each of its
// releases would search other places, in the environment of another user.
func openSource(log logrus.FieldLogger) importer.OpenFunc {
	return func(ctx context.Context, image reference.Image, access importer.Access) (importer.Source, error) {
		user, err := unprivilegedUser()
		if err != nil {
			return nil, &importer.Error{Kind: importer.KindToolFailed, Stage: importer.StageOpen, Err: err}
		}
		policy, err := signature.PolicyFile(signature.Environment{})
		if err != nil {
			return nil, &importer.Error{Kind: importer.KindSignatureRejected, Stage: importer.StageOpen, Err: err}
		}
		config, err := proxyConfig(access, log)
		if err != nil {
			return nil, err
		}
		config.Policy, config.User = policy, user
		if passed := access.Opened(); passed != nil && !passed.IsOurs(image) {
			return openPassed(ctx, config, image, access)
		}
		opened, err := proxyclient.OpenSource(ctx, config, image.String())
		if err != nil {
			return nil, withOpenHint(image, access, sourceError(err))
		}
		return source{opened}, nil
	}
}

// openPassed opens an image that the caller has opened.
func openPassed(
	ctx context.Context, config proxyclient.Config, image reference.Image, access importer.Access,
) (importer.Source, error) {
	passed, err := copyPassed(ctx, image, access.Opened(), config.User)
	if err != nil {
		return nil, err
	}
	opened, err := proxyclient.OpenSource(ctx, config, passed.image.String())
	if err != nil {
		return nil, errors.Join(withOpenHint(image, access, passed.rename(sourceError(err))), passed.close())
	}
	return passedSource{source{opened}, passed}, nil
}

// withOpenHint says what helps when an image cannot be opened.
func withOpenHint(image reference.Image, access importer.Access, err error) error {
	var e *importer.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Kind == importer.KindRegistryUnauthorized:
		e.Hint = credentialsHint(access)
	case e.Kind == importer.KindInvalidReference:
		if !strings.Contains(e.Err.Error(), image.Name) {
			e.Err = fmt.Errorf("%s: %w", image, e.Err)
		}
		if image.Transport == reference.TransportRegistry {
			e.Hint = "write docker://HOST/NAME[:TAG] or docker://HOST/NAME@DIGEST, with NAME in lower case"
		}
	case e.Hint != "":
	case image.Transport != reference.TransportRegistry && strings.Contains(err.Error(), "permission denied"):
		// A file of the image is for its owner alone.
		e.Hint = "skopeo runs as an unprivileged user: `chmod -R a+rX` of the image lets it read"
	}
	return err
}

// credentialsHint says which credentials a registry was given, and how it gets others.
func credentialsHint(access importer.Access) string {
	const give = "give credentials with an authfile, or see that the image is public"
	switch {
	case access.AuthFile != "":
		return "the credentials are those in " + access.AuthFile + ": see that they are right, and for this registry"
	case access.AuthFD != nil:
		return "the credentials are those of the authfile: see that they are right, and for this registry"
	case access.Anonymous:
		return "no credentials were used, as asked for: " + give
	case access.SkipTLSVerify:
		return "without verified TLS only the credentials of an authfile are used: name one"
	}
	file, err := proxyclient.DefaultAuthFile("/", os.Geteuid())
	if err != nil || file == "" {
		return "there are no credentials in " + strings.Join(proxyclient.AuthFiles("/", os.Geteuid()), ", ") + ": " + give
	}
	return "the credentials are those in " + file + ": see that they are right, and for this registry, or name another authfile"
}

// push returns an importer.PushFunc that copies images with skopeo.
func push(log logrus.FieldLogger) importer.PushFunc {
	return func(ctx context.Context, from, to reference.Image, access importer.Access) error {
		user, err := unprivilegedUser()
		if err != nil {
			return &importer.Error{Kind: importer.KindToolFailed, Stage: importer.StagePush, Err: err}
		}
		config, err := proxyConfig(access, log)
		if err != nil {
			return err
		}
		config.User = user
		return sourceError(proxyclient.Push(ctx, config, from.String(), to.String()))
	}
}

// maxSecret bounds a file of credentials or a key that the caller has opened, in bytes.
const maxSecret = 1 << 20

// proxyConfig is how skopeo reaches a registry. Files that the caller has opened are read here.
func proxyConfig(access importer.Access, log logrus.FieldLogger) (config proxyclient.Config, err error) {
	config = proxyclient.Config{
		AuthFile:      access.AuthFile,
		Anonymous:     access.Anonymous,
		CertDir:       access.CertDir,
		SkipTLSVerify: access.SkipTLSVerify,
		Log:           log,
		Debug:         log.WithFields(nil).Logger.IsLevelEnabled(logrus.DebugLevel),
	}
	if access.AuthFD != nil {
		config.AuthFile = ""
		if config.AuthData, err = readSecret("authfile", access.AuthFD); err != nil {
			return config, err
		}
	}
	config.DecryptionKeys, err = decryptionKeys(access)
	return config, err
}

func decryptionKeys(access importer.Access) (keys []proxyclient.DecryptionKey, err error) {
	opened := access.KeyFDs
	for _, key := range access.DecryptionKeys {
		made := proxyclient.DecryptionKey{Key: key}
		if _, password, isFile := importer.KeyFile(key); isFile && len(opened) > 0 {
			made.Key = password
			if made.Data, err = readSecret("decryption key", opened[0]); err != nil {
				return nil, err
			}
			opened = opened[1:]
		}
		keys = append(keys, made)
	}
	return keys, nil
}

// readSecret reads a file that the caller has opened. One that is empty is no secret.
func readSecret(what string, d *importer.Descriptor) ([]byte, error) {
	data, err := d.ReadFile(maxSecret)
	if err == nil && len(data) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return nil, &importer.Error{
			Kind: importer.KindInvalidOption, Stage: importer.StageOpen, Err: fmt.Errorf("read the %s that was passed: %w", what, err),
		}
	}
	return data, nil
}

// unprivilegedUser is the unprivileged user for the proxy, nil when we are
// unprivileged ourselves.
func unprivilegedUser() (*command.User, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	var problem error
	for _, name := range proxyUsers {
		account, err := user.Lookup(name)
		if err != nil {
			problem = err
			continue
		}
		uid, err := strconv.ParseUint(account.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(account.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &command.User{UID: uint32(uid), GID: uint32(gid)}, nil
	}
	return nil, problem
}

// proxyOwners are the users that a proxy of this or an earlier version may have run as, who owned
// its temporary directory then.
func proxyOwners() []int {
	if os.Geteuid() != 0 {
		return nil
	}
	var owners []int
	for _, name := range proxyUsers {
		account, err := user.Lookup(name)
		if err != nil {
			continue
		}
		if uid, err := strconv.Atoi(account.Uid); err == nil {
			owners = append(owners, uid)
		}
	}
	return owners
}

// source is a proxyclient.Source with the importer's errors.
type source struct{ opened *proxyclient.Source }

func (s source) Manifest(ctx context.Context) ([]byte, digest.Digest, error) {
	raw, dgst, err := s.opened.Manifest(ctx)
	return raw, dgst, sourceError(err)
}

func (s source) Config(ctx context.Context) ([]byte, error) {
	raw, err := s.opened.Config(ctx)
	return raw, sourceError(err)
}

func (s source) Blob(ctx context.Context, descriptor ocispec.Descriptor) (io.ReadCloser, error) {
	stream, err := s.opened.Blob(ctx, descriptor)
	if err != nil {
		return nil, sourceError(err)
	}
	return blob{stream}, nil
}

func (s source) Layers(ctx context.Context) ([]ocispec.Descriptor, error) {
	layers, err := s.opened.Layers(ctx)
	return layers, sourceError(err)
}

func (s source) Close() error { return sourceError(s.opened.Close()) }

// blob is a stream with the importer's errors.
type blob struct{ io.ReadCloser }

func (b blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	return n, sourceError(err)
}

// sourceError gives an error of the proxy client the importer's kind. Other
// errors, io.EOF among them, stay as they are.
func sourceError(err error) error {
	var cause *proxyclient.Error
	if !errors.As(err, &cause) {
		return err
	}
	converted := &importer.Error{Kind: kindOf(cause.Class), Retryable: cause.Retryable(), Err: err}
	switch cause.Class {
	case proxyclient.ClassUnauthorized:
		converted.Hint = "give credentials with an authfile, or see that the image is public"
	case proxyclient.ClassPolicy:
		converted.Hint = "see containers-policy.json(5)"
	case proxyclient.ClassNetwork:
		if cause.PlainHTTP() {
			converted.Hint = "if the registry speaks plain HTTP, allow that with --tls-verify=false " +
				"(on the bus: insecure-skip-tls-verification), or for its host with insecure=true in containers-registries.conf(5)"
		}
	}
	return converted
}

// kindOf is the one place where the proxy's classes become the importer's
// kinds.
func kindOf(class proxyclient.Class) importer.Kind {
	switch class {
	case proxyclient.ClassNotFound:
		return importer.KindReferenceNotFound
	case proxyclient.ClassUnauthorized:
		return importer.KindRegistryUnauthorized
	case proxyclient.ClassPolicy:
		return importer.KindSignatureRejected
	case proxyclient.ClassNetwork:
		return importer.KindNetwork
	case proxyclient.ClassNoSpace:
		return importer.KindNoSpace
	case proxyclient.ClassReadOnly:
		return importer.KindReadOnly
	case proxyclient.ClassTempDir, proxyclient.ClassDescriptors:
		return importer.KindNotAvailable
	case proxyclient.ClassTimeout:
		return importer.KindTimeout
	case proxyclient.ClassIntegrity:
		return importer.KindDigestMismatch
	case proxyclient.ClassToolMissing, proxyclient.ClassChildDied:
		return importer.KindToolFailed
	case proxyclient.ClassUnsupported:
		return importer.KindUnsupportedImage
	case proxyclient.ClassCanceled:
		return importer.KindCanceled
	case proxyclient.ClassReference:
		return importer.KindInvalidReference
	case proxyclient.ClassConfig:
		return importer.KindInvalidOption
	}
	return importer.KindFailed
}
