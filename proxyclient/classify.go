package proxyclient

import "strings"

// textClass is one row of the table that turns the proxy's texts into classes.
type textClass struct {
	class     Class
	permanent bool // only with ClassNetwork: another try does not help
	contains  []string
}

// textClasses is searched from the top: the first row with a substring that
// stands anywhere in the text wins, because releases put different words in
// front. The texts are those of skopeo 1.9 to 1.22.
var textClasses = [...]textClass{
	// The status of an answer comes first, because its body, which may be any page, follows it.
	{class: ClassUnauthorized, contains: []string{
		"StatusCode: 401", "StatusCode: 403", "from registry 401", "from registry 403", "HTTP status: 401", "HTTP status: 403",
	}},
	{class: ClassNotFound, contains: []string{"StatusCode: 404", "from registry 404", "HTTP status: 404"}},
	{class: ClassNetwork, contains: []string{
		"StatusCode: 429", "from registry 429", "HTTP status: 429", "StatusCode: 5", "from registry 5", "HTTP status: 5",
	}},
	{class: ClassNoSpace, contains: []string{"no space left on device", "disk quota exceeded"}},
	{class: ClassReadOnly, contains: []string{"read-only file system"}},
	{class: ClassDescriptors, contains: []string{"too many open files"}},
	{class: ClassUnauthorized, contains: []string{
		"unauthorized", "authentication required", "invalid username/password", ": denied", "access to the resource is denied",
	}},
	{class: ClassPolicy, contains: []string{
		"rejected by policy", "A signature was required", "Source image rejected", "invalid policy in", "policy.json: ",
	}},
	{class: ClassIntegrity, contains: []string{
		"corrupted blob", "bytes in blob, got", "does not match provided manifest digest", "Download config.json digest", "config validation failed",
	}},
	{class: ClassUnsupported, contains: []string{
		"no image found in image index", "no image found in manifest list", "unsupported legacy manifest MIME type", "unsupported image-specific operation",
		"unsupported schema version", "looking for beginning of value", "exceeded maximum allowed size", "unknown method",
	}},
	{class: ClassNetwork, permanent: true, contains: []string{
		"x509: ", "remote error: tls:", "does not look like a TLS handshake", "server gave HTTP response to HTTPS client",
	}},
	{class: ClassNetwork, contains: []string{
		"unexpected EOF", `": EOF`, "connection re", "unreachable", "timeout", "no such host", "server misbehaving", "toomanyrequests", "too many requests",
		"broken pipe", "temporary failure in name resolution", "no route to host",
	}},
	{class: ClassNotFound, contains: []string{
		"manifest unknown", "name unknown", "blob unknown", "Unknown blob", "no descriptor found for reference",
		"does not resolve to an image ID", "locating item named", "no such file or directory", "\" not found",
	}},
	{class: ClassReference, contains: []string{
		"unknown transport", "invalid reference format", "invalid checksum digest", "unsupported digest algorithm", "invalid port",
		"repository name must be lowercase",
	}},
	{class: ClassConfig, contains: []string{
		"Invalid image name", "Invalid source name", "unmarshaling JSON at", "more than one image in oci", "cannot be specified at the same time",
	}},
	// The documents of an image that are not what they should be. Errors of registries, which have other rows, can have these texts too.
	{class: ClassUnsupported, contains: []string{
		"unexpected end of JSON input", "json: cannot unmarshal", "exceeded max depth", "invalid character", "no FSLayers in manifest",
	}},
}

// codeRetryable is the error_code of protocol 0.2.8 for some transient faults.
// Broken downloads, HTTP 500 and DNS failures come without it.
const codeRetryable = "retryable"

// classify makes the error of a failed call from the proxy's text and, where
// the protocol has one, its code.
func classify(op, text, code string) *Error {
	e := &Error{Class: ClassOther, Op: op, Message: printable(text)}
	if text == "" {
		e.Message = "the proxy reported an error without a text"
	}
search:
	for _, row := range textClasses {
		for _, part := range row.contains {
			if strings.Contains(text, part) {
				e.Class, e.permanent = row.class, row.permanent
				break search
			}
		}
	}
	if code == codeRetryable && e.Class == ClassOther {
		e.Class = ClassNetwork
	}
	return e
}
