package reference

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	maxRefComponent = 255  // a component is a file name
	maxRef          = 3800 // a ref is a path below refs/heads/, and a path is shorter than 4096 bytes
)

var errNoPrefix = errors.New("a ref needs a prefix to stand below")

// Escape writes any text as an OSTree ref below prefix, by the rules of ostree-ext's refescape:
// ASCII letters, digits and "-" stand for themselves, "/" too between a letter or digit and
// something, "_" is doubled, everything else is its code point in hexadecimal between two "_".
//
// Empty text, text with NUL or that isn't UTF-8, and text whose result OSTree doesn't hold as a ref
// (a component that begins with "-" or is too long) are errors.
func Escape(prefix, s string) (string, error) {
	switch {
	case prefix == "":
		return "", errNoPrefix
	case s == "":
		return "", errors.New("a name that is empty can't be recorded as a ref")
	case !utf8.ValidString(s) || strings.ContainsRune(s, 0):
		return "", fmt.Errorf("%q contains NUL or isn't UTF-8 and can't be recorded as a ref", s)
	}
	var b strings.Builder
	b.WriteString(prefix)
	b.WriteByte('/')
	alphanumeric := false // the previous character of s
	for i, c := range s {
		slash := c == '/' && alphanumeric && i+1 < len(s)
		alphanumeric = isAlphanumeric(c)
		switch {
		case alphanumeric || slash || c == '-':
			b.WriteRune(c)
		case c == '_':
			b.WriteString("__")
		default:
			fmt.Fprintf(&b, "_%02X_", c)
		}
	}
	ref := b.String()
	if err := checkRef(ref); err != nil {
		return "", fmt.Errorf("%q can't be recorded as a ref: %w", s, err)
	}
	return ref, nil
}

func isAlphanumeric(c rune) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// checkRef refuses what Escape can produce and OSTree refuses.
func checkRef(ref string) error {
	if len(ref) > maxRef {
		return fmt.Errorf("the ref would be %d bytes long, more than %d; use a shorter name", len(ref), maxRef)
	}
	for component := range strings.SplitSeq(ref, "/") {
		switch {
		case strings.HasPrefix(component, "-"):
			return fmt.Errorf("OSTree holds no ref with a component like %q that begins with %q; use another name", component, "-")
		case len(component) > maxRefComponent:
			return fmt.Errorf("a component of the ref would be %d bytes long, more than %d; use a shorter name", len(component), maxRefComponent)
		}
	}
	return nil
}

// Unescape is the inverse of Escape. A ref that Escape doesn't write is an error.
func Unescape(prefix, ref string) (string, error) {
	if prefix == "" {
		return "", errNoPrefix
	}
	escaped, found := strings.CutPrefix(ref, prefix+"/")
	if !found {
		return "", fmt.Errorf("the ref %q is not below %s", ref, prefix)
	}
	text, err := unescape(escaped)
	if err != nil {
		return "", fmt.Errorf("the ref %q: %w", ref, err)
	}
	if again, err := Escape(prefix, text); err != nil || again != ref {
		return "", fmt.Errorf("the ref %q is not how %q is escaped", ref, text)
	}
	return text, nil
}

// unescape accepts some more than Escape writes.
func unescape(escaped string) (string, error) {
	var b strings.Builder
	for escaped != "" {
		c := escaped[0]
		escaped = escaped[1:]
		switch {
		case isAlphanumeric(rune(c)) || c == '-' || c == '/':
			b.WriteByte(c)
		case c != '_':
			return "", fmt.Errorf("%q is not a character of an escaped name", c)
		default:
			hex, rest, found := strings.Cut(escaped, "_")
			if !found {
				return "", errors.New(`an escape lacks the "_" at its end`)
			}
			escaped = rest
			if hex == "" {
				b.WriteByte('_')
				continue
			}
			code, err := strconv.ParseUint(hex, 16, 32)
			if err != nil || !utf8.ValidRune(rune(code)) {
				return "", fmt.Errorf("%q is not the code of a character", hex)
			}
			b.WriteRune(rune(code))
		}
	}
	return b.String(), nil
}
