package pcre

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"

	"github.com/ostree-importd/ostree-importd/importer/selinux/pcre/pcretest"
)

// TestTranslate tries expressions from the very beginning of a path, and in both forms.
func TestTranslate(t *testing.T) {
	for _, e := range pcretest.Expressions {
		linear, err := Translate(e.Pattern, false)
		if err != nil && !errors.Is(err, ErrBacktracking) {
			t.Errorf("%s: %v", e.Pattern, err)
			continue
		}
		general, err2 := Backtracking(e.Pattern)
		if err2 != nil {
			t.Errorf("%s: %v", e.Pattern, err2)
			continue
		}
		for _, name := range append(e.Yes, e.No...) {
			checkTranslation(t, e.Pattern, linear, err == nil, general, name)
		}
	}
}

// checkTranslation asserts that both forms agree on a name, and that the fixed texts are in what
// matches.
func checkTranslation(t *testing.T, pattern string, linear Translation, isLinear bool, general *regexp2.Regexp, name string) {
	t.Helper()
	slow, err := general.MatchString(Subject(name))
	if err != nil || !isLinear {
		return
	}
	if !strings.Contains(name, "\n") && strings.Count(linear.Text, "(?-s") == 0 {
		if fast := regexp.MustCompile(linear.Text).MatchString(Subject(name)); fast != slow {
			t.Errorf("%q on %q: linear %t, backtracking %t", pattern, name, fast, slow)
		}
	}
	if slow {
		rest, ok := strings.CutPrefix(name, linear.Prefix)
		if !ok || !strings.Contains(rest, linear.Need) {
			t.Errorf("%q matches %q without %q or %q", pattern, name, linear.Prefix, linear.Need)
		}
	}
}

func TestFixedTexts(t *testing.T) {
	for _, tt := range []struct{ pattern, prefix, rest, need string }{
		{`/usr/lib(/.*)?`, "/usr/lib", `(/.*)?`, ""},
		{`/usr/.*\.so\.x`, "/usr/", `.*\.so\.x`, ".so.x"},
		{`/usr/li?b/foo[0-9]bar`, "/usr/l", `i?b/foo[0-9]bar`, "b/foo"},
		{`/a\.b*c`, "/a.", `b*c`, "c"},
		{`/a\.*c`, "/a", `\.*c`, "c"},
		{`/a{2}b`, "/", `a{2}b`, "b"},
		{`/a|/b`, "", `/a|/b`, ""},
		{`/a-bc.d+ef/?g`, "/a-bc", `.d+ef/?g`, "ef"},
		{`/a(b|c)dd`, "/a", `(b|c)dd`, "dd"},
		{`/a(?i)bcd`, "", `/a(?i)bcd`, ""},
		{`^/a`, "", `^/a`, "/a"},
		{`(/a)b`, "", `(/a)b`, "b"},
		{`/\Qa.b\E*c`, "/a.", `b\E*c`, "c"},
	} {
		got, err := Translate(tt.pattern, false)
		if err != nil || got.Prefix != tt.prefix || got.Rest != tt.rest || got.Need != tt.need {
			t.Errorf("%s: prefix %q, rest %q, need %q, %v", tt.pattern, got.Prefix, got.Rest, got.Need, err)
		}
	}
}

func TestBadExpressions(t *testing.T) {
	for pattern, want := range map[string]string{
		`(`:                           "not closed",
		`a)`:                          "not open",
		`*a`:                          "nothing",
		`a|*`:                         "nothing",
		`a**`:                         "nothing",
		`(*FAIL)a`:                    "not supported",
		`^*`:                          "nothing",
		`(?=a)*`:                      "nothing",
		`[a`:                          "bracket",
		`[`:                           "bracket",
		`[\`:                          "bracket",
		`[^`:                          "bracket",
		`[a-`:                         "bracket",
		`[b-a]`:                       "range",
		`[[:nothing:]]`:               "[:nothing:]",
		`[^\x00-\xff]`:                "nothing",
		`\`:                           "last character",
		`a\`:                          "last character",
		`\p{L}`:                       `\p`,
		`\x{41}`:                      `\x{`,
		`\K`:                          `\K`,
		`\Qab`:                        `\Q`,
		`(a)\2`:                       "not there",
		`(a)\12`:                      "more than one digit",
		`(?P<x>a)`:                    "(?P<",
		`(?|a|b)`:                     "(?|a",
		`(?x)a`:                       "(?x)",
		`(?#x)a`:                      "(?#x",
		`a{65536}`:                    "65535",
		`a{2,1}`:                      "out of order",
		`a{2,70000}`:                  "65535",
		`(((a{90}){90}){90}){90}`:     "complex",
		`[ab]{20001}`:                 "complex",
		strings.Repeat("a", 4097):     "4096",
		strings.Repeat("(", 300):      "complex",
		strings.Repeat("a{900}", 100): "complex",
	} {
		_, err := Translate(pattern, false)
		if errors.Is(err, ErrBacktracking) {
			_, err = Translate(pattern, true)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50s: error %v, want one with %s", pattern, err, want)
		}
	}
}

func FuzzTranslate(f *testing.F) {
	for _, e := range pcretest.Expressions {
		for _, name := range append(e.Yes, e.No...) {
			f.Add(e.Pattern, name)
		}
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.ContainsAny(name, "\x00") {
			return
		}
		linear, err := Translate(pattern, false)
		general, err2 := Backtracking(pattern)
		if err == nil && err2 != nil {
			t.Fatalf("%q: only without backtracking: %v", pattern, err2)
		}
		if err2 != nil {
			return
		}
		if err == nil {
			if _, err := regexp.Compile(linear.Text); err != nil {
				return // too large for it: the other is taken
			}
		}
		general.MatchTimeout /= 10
		if len(name) < 100 {
			checkTranslation(t, pattern, linear, err == nil, general, name)
		}
	})
}
