package proxyclient

import (
	"regexp"
	"strings"
)

// textClass is one row of the table that turns the proxy's texts into classes.
type textClass struct {
	class     Class
	permanent bool // only with ClassNetwork: another try does not help
	contains  []string
}

// textClasses is searched from the top: the first row with a substring that stands anywhere in the
// proxy's own words wins, because releases put different words in front. The texts are those of
// skopeo
// 1.9 to 1.22.
var textClasses = [...]textClass{
	{class: ClassNoSpace, contains: []string{"no space left on device", "disk quota exceeded"}},
	{class: ClassReadOnly, contains: []string{"read-only file system"}},
	{class: ClassDescriptors, contains: []string{"too many open files"}},
	{class: ClassPolicy, contains: []string{
		"rejected by policy", "A signature was required", "Source image rejected", "invalid policy in", "policy.json: ",
	}},
	{class: ClassIntegrity, contains: []string{
		"corrupted blob", "bytes in blob, got", "does not match provided manifest digest", "Download config.json digest", "config validation failed",
	}},
	{class: ClassUnsupported, contains: []string{
		"no image found in image index", "no image found in manifest list", "unsupported legacy manifest MIME type", "unsupported image-specific operation",
		"unsupported schema version", "looking for beginning of value", "exceeded maximum allowed size", "unknown method",
		"untarring file", "unexpected digest reference",
	}},
	{class: ClassNetwork, permanent: true, contains: []string{
		"remote error: tls:", "does not look like a TLS handshake", "server gave HTTP response to HTTPS client",
		"unsupported protocol scheme", "stopped after 10 redirects", "malformed HTTP",
	}},
	{class: ClassNetwork, contains: []string{
		"unexpected EOF", `": EOF`, "connection re", "unreachable", "timeout", "no such host", "server misbehaving", "too many requests",
		"broken pipe", "temporary failure in name resolution", "no route to host",
	}},
	{class: ClassNotFound, contains: []string{
		"no descriptor found for reference",
		"does not resolve to an image ID", "locating item named", "no such file or directory", "\" not found",
	}},
	{class: ClassReference, contains: []string{
		"unknown transport", "invalid reference format", "invalid checksum digest", "unsupported digest algorithm", "invalid port",
		"repository name must be lowercase",
	}},
	{class: ClassConfig, contains: []string{
		"Invalid image name", "Invalid source name", "unmarshaling JSON at", "more than one image in oci", "cannot be specified at the same time",
	}},
	// The documents of an image that are not what they should be. Errors of registries, which have
	// other rows, can have these texts too.
	{class: ClassUnsupported, contains: []string{
		"unexpected end of JSON input", "json: cannot unmarshal", "exceeded max depth", "invalid character", "no FSLayers in manifest",
	}},
}

// codeRetryable is the error_code of protocol 0.2.8 for some transient faults.
// Broken downloads, HTTP 500 and DNS failures come without it.
const codeRetryable = "retryable"

// classify makes the error of a failed call from the proxy's text and, where
// the protocol has one, its code. What a registry or an image has put into the
// text never decides on the class.
func classify(op, text, code string) *Error {
	e := &Error{Class: ClassOther, Op: op, Message: printable(text)}
	if text == "" {
		e.Message = "the proxy reported an error without a text"
	}
	e.Class, e.permanent = classOf(text)
	if code == codeRetryable && e.Class == ClassOther {
		e.Class = ClassNetwork
	}
	return e
}

func classOf(text string) (class Class, permanent bool) {
	words := ownWords(text)
	if class, permanent, found := classOfAnswer(words); found {
		return class, permanent
	}
	for _, row := range textClasses {
		for _, part := range row.contains {
			if strings.Contains(words, part) {
				return row.class, row.permanent
			}
		}
	}
	return ClassOther, false
}

var (
	quoted = regexp.MustCompile(`"(?:[^"\\]|\\.)*"`)
	paths  = regexp.MustCompile(`(^|\s)/\S*`)
)

// ownWords returns a text without what the proxy quotes, such as addresses that a registry has sent
// it to, and without paths, which are the caller's.
func ownWords(text string) string {
	text = quoted.ReplaceAllString(text, `""`)
	return paths.ReplaceAllStringFunc(text, func(path string) string {
		if strings.HasSuffix(path, "/policy.json:") {
			return path
		}
		return " /:"
	})
}

// answers are the parts of a text, between ": ", behind which a registry's own words may stand, or
// those of an image. They are the codes of docker/distribution's errors, which skopeo prints
// without the status of the answer, and the sentences that skopeo prints for a code without a
// message.
var answers = map[string]textClass{
	"unauthorized": {class: ClassUnauthorized}, "authentication required": {class: ClassUnauthorized},
	"denied": {class: ClassUnauthorized}, "requested access to the resource is denied": {class: ClassUnauthorized},
	"invalid username/password": {class: ClassUnauthorized},
	"manifest unknown":          {class: ClassNotFound}, "manifest blob unknown": {class: ClassNotFound},
	"name unknown": {class: ClassNotFound}, "repository name not known to registry": {class: ClassNotFound},
	"blob unknown": {class: ClassNotFound}, "blob unknown to registry": {class: ClassNotFound},
	"toomanyrequests": {class: ClassNetwork}, "unavailable": {class: ClassNetwork},
	"unknown": {class: ClassOther}, "unknown error": {class: ClassOther}, "unsupported": {class: ClassOther},
	"manifest invalid": {class: ClassOther}, "manifest unverified": {class: ClassOther}, "name invalid": {class: ClassOther},
	"tag invalid": {class: ClassOther}, "digest invalid": {class: ClassOther}, "size invalid": {class: ClassOther},
	"blob upload unknown": {class: ClassOther}, "blob upload invalid": {class: ClassOther},
	"x509":                                  {class: ClassNetwork, permanent: true}, // of a certificate
	"HTTP/1.x transport connection broken":  {class: ClassNetwork, permanent: true}, // by what it cannot read
	"unsupported manifest MIME type":        {class: ClassUnsupported},
	"unsupported legacy manifest MIME type": {class: ClassUnsupported},
}

// status finds the status of an answer in a text.
var status = regexp.MustCompile(
	`(?:^|: |\s)(?:StatusCode: |invalid status code from registry |HTTP status: |error parsing HTTP )([1-5][0-9]{2})\b`)

// classOfAnswer returns the class of the first part of a text that says how a registry has
// answered, or where the words of an image begin.
func classOfAnswer(words string) (class Class, permanent, found bool) {
	begin := len(words)
	if m := status.FindStringSubmatchIndex(words); m != nil {
		begin, class, found = m[0], classOfStatus(words[m[2]:m[3]]), true
	}
	at := 0
	for part := range strings.SplitSeq(words, ": ") {
		if at >= begin {
			break
		}
		at += len(part) + len(": ")
		part = strings.TrimPrefix(part, "errors:\n") // where there are several
		if strings.HasPrefix(part, "loading tar component ") {
			return ClassUnsupported, false, true
		}
		if answer, known := answers[part]; known {
			return answer.class, answer.permanent, true
		}
	}
	return class, false, found
}

// classOfStatus returns the class of the status of an answer.
func classOfStatus(status string) Class {
	switch status {
	case "401", "403":
		return ClassUnauthorized
	case "404":
		return ClassNotFound
	case "408", "429":
		return ClassNetwork
	}
	if status[0] == '5' {
		return ClassNetwork
	}
	return ClassOther
}
