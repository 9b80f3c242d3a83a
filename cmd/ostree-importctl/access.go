package main

import (
	"github.com/spf13/pflag"

	"github.com/ostree-importd/ostree-importd/importer"
)

// accessOptions say how a registry is reached, and with which credentials.
type accessOptions struct {
	authfile, certDir    string
	anonymous, tlsVerify bool
	decryptionKeys       []string
}

func (o *accessOptions) register(flags *pflag.FlagSet) {
	flags.StringVar(&o.authfile, "authfile", "", "`path` of the registry credentials")
	flags.BoolVar(&o.anonymous, "anonymous", false, "use no credentials")
	flags.StringVar(&o.certDir, "cert-dir", "", "`directory` with CA certificates (*.crt) and a client's *.cert and *.key")
	flags.BoolVar(&o.tlsVerify, "tls-verify", true, "verify the registry's certificate; =false also permits plain HTTP")
	flags.StringArrayVar(&o.decryptionKeys, "decryption-key", nil, "`key` file for encrypted layers, where the proxy supports it (repeatable)")
}

func (o *accessOptions) access() (access importer.Access, err error) {
	access.Anonymous = o.anonymous
	access.SkipTLSVerify = !o.tlsVerify
	for _, key := range o.decryptionKeys {
		if key, err = absoluteKey(key); err != nil {
			return access, err
		}
		access.DecryptionKeys = append(access.DecryptionKeys, key)
	}
	if access.AuthFile, err = absolute(o.authfile); err != nil {
		return access, err
	}
	access.CertDir, err = absolute(o.certDir)
	return access, err
}

// absoluteKey makes the path in a decryption key absolute. What follows its first
// colon is a password, and what names a provider or a token has no path.
func absoluteKey(key string) (string, error) {
	path, password, isFile := importer.KeyFile(key)
	if !isFile {
		return key, nil
	}
	path, err := absolute(path)
	return path + password, err
}
