package dbus

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	godbus "github.com/godbus/dbus/v5"
	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

// The names of the options.
const (
	optionWait             = "wait"
	optionNoQueue          = "no-queue"
	optionTransactionID    = "transaction-id"
	optionManifestDigest   = "require-manifest-digest"
	optionAuthFile         = "authfile"
	optionCertDir          = "cert-dir"
	optionAnonymous        = "auth-anonymous"
	optionSkipTLSVerify    = "insecure-skip-tls-verification"
	optionDecryptionKeys   = "decryption-keys"
	optionNoImageRef       = "no-imgref"
	optionTargetImage      = "target-image"
	optionDropSpecialFiles = "drop-special-files"
	optionJobs             = "jobs"
)

const (
	maxTransactionID = 128 // bytes
	maxLayerJobs     = 64
)

// option is one key that a method's a{sv} may have.
type option struct {
	name      string
	signature string
	// set stores the value, which is of the signature's type. Its error says what is wrong with it.
	set func(*callOptions, any) error
}

// callOptions are the options of one call. request.Image is not one of them.
type callOptions struct {
	wait    bool
	job     daemon.JobOptions
	request importer.Request
	// names are those that were given, sorted.
	names []string
}

func boolOption(name string, field func(*callOptions) *bool) option {
	return option{name, "b", func(o *callOptions, value any) error {
		*field(o) = value.(bool)
		return nil
	}}
}

// textOption is an option whose text has to pass check.
func textOption(name string, field func(*callOptions) *string, check func(string) error) option {
	return option{name, "s", func(o *callOptions, value any) error {
		*field(o) = value.(string)
		return check(value.(string))
	}}
}

var (
	waitOptions = []option{boolOption(optionWait, func(o *callOptions) *bool { return &o.wait })}

	jobOptions = []option{
		boolOption(optionNoQueue, func(o *callOptions) *bool { return &o.job.NoQueue }),
		textOption(optionTransactionID, func(o *callOptions) *string { return &o.job.TransactionID }, checkTransactionID),
	}

	requestOptions = []option{
		{optionManifestDigest, "s", setManifestDigest},
		textOption(optionAuthFile, func(o *callOptions) *string { return &o.request.Access.AuthFile }, checkAbsolute),
		textOption(optionCertDir, func(o *callOptions) *string { return &o.request.Access.CertDir }, checkAbsolute),
		boolOption(optionAnonymous, func(o *callOptions) *bool { return &o.request.Access.Anonymous }),
		boolOption(optionSkipTLSVerify, func(o *callOptions) *bool { return &o.request.Access.SkipTLSVerify }),
		{optionDecryptionKeys, "as", setDecryptionKeys},
		boolOption(optionNoImageRef, func(o *callOptions) *bool { return &o.request.NoRef }),
		textOption(optionTargetImage, func(o *callOptions) *string { return &o.request.Target }, checkNotEmpty),
		boolOption(optionDropSpecialFiles, func(o *callOptions) *bool { return &o.request.DropSpecialFiles }),
		{optionJobs, "u", setLayerJobs},
	}

	prepareOptions        = slices.Concat(jobOptions, requestOptions)
	importOptions         = slices.Concat(waitOptions, jobOptions, requestOptions)
	importPreparedOptions = slices.Concat(waitOptions, jobOptions)
)

// readOptions reads the options of a call to method. A key that is not allowed, a wrong type and a value that makes no sense
// are errors: nothing is ignored.
func readOptions(method string, allowed []option, values map[string]godbus.Variant) (callOptions, error) {
	options := callOptions{names: slices.Sorted(maps.Keys(values))}
	for _, name := range options.names {
		i := slices.IndexFunc(allowed, func(o option) bool { return o.name == name })
		if i < 0 {
			return options, invalidOption("unknown option %q; %s takes %s", name, method, listOptions(allowed))
		}
		known, value := allowed[i], values[name]
		if actual := value.Signature().String(); actual != known.signature {
			return options, invalidOption("the option %q is of type %s, not %s; %s takes %s",
				name, known.signature, actual, method, listOptions(allowed))
		}
		if err := known.set(&options, value.Value()); err != nil {
			return options, invalidOption("the option %q: %w", name, err)
		}
	}
	if options.request.Access.Anonymous && options.request.Access.AuthFile != "" {
		return options, invalidOption("%q and %q exclude each other", optionAnonymous, optionAuthFile)
	}
	return options, nil
}

func invalidOption(format string, args ...any) error {
	return &importer.Error{Kind: importer.KindInvalidOption, Err: fmt.Errorf(format, args...)}
}

func listOptions(options []option) string {
	var list []string
	for _, o := range options {
		list = append(list, o.name+" ("+o.signature+")")
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

func checkTransactionID(id string) error {
	if id == "" || len(id) > maxTransactionID {
		return fmt.Errorf("it has to have 1 to %d bytes; a UUID is a good one", maxTransactionID)
	}
	return nil
}

func checkAbsolute(path string) error {
	if !filepath.IsAbs(path) {
		return fmt.Errorf("%q is not an absolute path", path)
	}
	return nil
}

func checkNotEmpty(text string) error {
	if text == "" {
		return fmt.Errorf("it is empty")
	}
	return nil
}

func setManifestDigest(o *callOptions, value any) error {
	parsed, err := digest.Parse(value.(string))
	if err != nil {
		return fmt.Errorf("%q is not a digest such as sha256: and 64 hexadecimal digits: %w", value, err)
	}
	o.request.Digest = parsed
	return nil
}

func setDecryptionKeys(o *callOptions, value any) error {
	keys := value.([]string)
	if slices.Contains(keys, "") {
		return fmt.Errorf("one of the keys is empty")
	}
	if len(keys) > 0 {
		o.request.Access.DecryptionKeys = keys
	}
	return nil
}

func setLayerJobs(o *callOptions, value any) error {
	jobs := value.(uint32)
	if jobs < 1 || jobs > maxLayerJobs {
		return fmt.Errorf("it has to be between 1 and %d", maxLayerJobs)
	}
	o.request.Jobs = int(jobs)
	return nil
}

// jobVariants is the inverse of readOptions for the options of a job.
func jobVariants(options daemon.JobOptions) map[string]godbus.Variant {
	values := make(properties)
	setUnlessZero(values, optionNoQueue, options.NoQueue)
	setUnlessZero(values, optionTransactionID, options.TransactionID)
	return variants(values)
}

// requestVariants is the inverse of readOptions for the options of Import and Prepare. The daemon has another working
// directory, so that paths become absolute.
func requestVariants(request importer.Request, options daemon.JobOptions) (map[string]godbus.Variant, error) {
	access := request.Access
	for _, path := range []*string{&access.AuthFile, &access.CertDir} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return nil, invalidOption("cannot make %q an absolute path: %w", *path, err)
		}
		*path = absolute
	}
	values := make(properties)
	setUnlessZero(values, optionManifestDigest, string(request.Digest))
	setUnlessZero(values, optionAuthFile, access.AuthFile)
	setUnlessZero(values, optionCertDir, access.CertDir)
	setUnlessZero(values, optionAnonymous, access.Anonymous)
	setUnlessZero(values, optionSkipTLSVerify, access.SkipTLSVerify)
	setUnlessZero(values, optionNoImageRef, request.NoRef)
	setUnlessZero(values, optionTargetImage, request.Target)
	setUnlessZero(values, optionDropSpecialFiles, request.DropSpecialFiles)
	setUnlessZero(values, optionJobs, uint32(max(0, request.Jobs)))
	if len(access.DecryptionKeys) > 0 {
		values[optionDecryptionKeys] = access.DecryptionKeys
	}
	dict := variants(values)
	maps.Copy(dict, jobVariants(options))
	return dict, nil
}

func setUnlessZero[T comparable](values properties, name string, value T) {
	var zero T
	if value != zero {
		values[name] = value
	}
}
