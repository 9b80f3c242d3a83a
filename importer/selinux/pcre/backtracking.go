package pcre

import (
	"time"

	"github.com/dlclark/regexp2"
)

// MatchTimeout ends a match that backtracks without end. An honest one takes microseconds.
const MatchTimeout = time.Second

// Backtracking compiles an expression for a backtracking matcher, which takes all that this package
// supports. A match fails after MatchTimeout. The matcher wants its text from Subject.
func Backtracking(pattern string) (*regexp2.Regexp, error) {
	t, err := Translate(pattern, true)
	if err != nil {
		return nil, err
	}
	re, err := regexp2.Compile(t.Text, regexp2.None)
	if err != nil {
		return nil, err
	}
	re.MatchTimeout = MatchTimeout
	return re, nil
}

// Subject returns the text in which an expression is looked for: each byte of the path as a
// character, because PCRE2 matches bytes here and Go's matchers decode UTF-8.
func Subject(path string) string {
	ascii := true
	for i := range len(path) {
		ascii = ascii && path[i] < 0x80
	}
	if ascii {
		return path
	}
	runes := make([]rune, len(path))
	for i := range len(path) {
		runes[i] = rune(path[i])
	}
	return string(runes)
}
