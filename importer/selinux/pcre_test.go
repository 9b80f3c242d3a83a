package selinux

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// expressions are tried on names, by this package and by libselinux. Those in yes match, those in no don't.
var expressions = []struct {
	pattern string
	yes, no []string
}{
	{`.`, []string{"a", "."}, []string{"ab", "é"}},
	{`..`, []string{"ab", "é", "a\n"}, []string{"a", "aé"}},
	{`a*b+c?`, []string{"b", "aabbc"}, []string{"a", "bcc"}},
	{`a{2}`, []string{"aa"}, []string{"a", "aaa"}},
	{`a{2,}`, []string{"aa", "aaaaa"}, []string{"a"}},
	{`a{1,2}b`, []string{"ab", "aab"}, []string{"b", "aaab"}},
	{`a{0}b`, []string{"b"}, []string{"ab"}},
	{`a{x}`, []string{"a{x}"}, []string{"ax"}},
	{`a{`, []string{"a{"}, []string{"a"}},
	{`a{1,2,3}`, []string{"a{1,2,3}"}, []string{"a"}},
	{`%{USERID}.+`, []string{"%{USERID}x"}, []string{"%{USERID}"}},
	{`x[0-9]{1100,1200}`, []string{}, []string{"x1"}},
	{`a+?b*?c??d{1,2}?`, []string{"ad", "abcdd"}, []string{"bd"}},
	{`(a|bc)*`, []string{"a", "bcabc"}, []string{"b"}},
	{`(?:a|b)+`, []string{"ab"}, []string{"c"}},
	{`(|a)b`, []string{"b", "ab"}, []string{"aab"}},
	{`()x`, []string{"x"}, []string{"xx"}},
	{`[abc]`, []string{"a", "c"}, []string{"d", "]"}},
	{`[^abc]`, []string{"d", "^", "\n"}, []string{"a"}},
	{`[]a]`, []string{"]", "a"}, []string{"b"}},
	{`[^]a]`, []string{"b"}, []string{"]", "a"}},
	{`[a-c-e]`, []string{"b", "-", "e"}, []string{"d"}},
	{`[-a]`, []string{"-", "a"}, []string{"b"}},
	{`[a-]`, []string{"-", "a"}, []string{"b"}},
	{`[+--]`, []string{"+", ",", "-"}, []string{"."}},
	{`[-\+]`, []string{"-", "+"}, []string{`\`}},
	{`[\]\\\-]`, []string{"]", `\`, "-"}, []string{"a"}},
	{`[\d_]`, []string{"1", "_"}, []string{"a", "d"}},
	{`[^\d\s]`, []string{"a"}, []string{"1", "\t"}},
	{`[\Wx]`, []string{"-", "x"}, []string{"y"}},
	{`[[:alpha:]_]`, []string{"z", "_"}, []string{"1", ":"}},
	{`[[:^alpha:]]`, []string{"1"}, []string{"z"}},
	{`[[:digit:][:upper:]]`, []string{"1", "A"}, []string{"a"}},
	{`[[:punct:]]+`, []string{"!:`~"}, []string{"a", "1"}},
	{`[[:xdigit:]]+[[:space:]]?[[:word:]]`, []string{"fA0_", "1\v1"}, []string{"g"}},
	{`[[:print:]]`, []string{"a"}, []string{"\x01"}},
	{`[[]`, []string{"["}, []string{"]"}},
	{`[a[]`, []string{"a", "["}, []string{"]"}},
	{`[\x41-\x43\n]`, []string{"A", "C", "\n"}, []string{"D"}},
	{`[\b]`, []string{"\b"}, []string{"b"}},
	{`\d\D`, []string{"1a"}, []string{"11", "aa"}},
	{`\w\W`, []string{"_-"}, []string{"__"}},
	{`\w`, []string{"a"}, []string{"é"}},
	{`\s\S`, []string{"\va", "\tb"}, []string{"aa"}},
	{`\h\H`, []string{"\ta"}, []string{"\na"}},
	{`\v\V`, []string{"\na", "\va"}, []string{"ta"}},
	{`\N`, []string{"a"}, []string{"\n"}},
	{`\.\+\@\:\ \#\~`, []string{}, []string{"."}},
	{`\@x`, []string{"@x"}, []string{"x"}},
	{`\x41\x7eb`, []string{"A~b"}, []string{"b"}},
	{`\xc3\xa9`, []string{"é"}, []string{"e"}},
	{`\x4b\x4`, []string{"K\x04"}, []string{"K"}},
	{`\0101`, []string{"\b1"}, []string{"A"}},
	{`\a\e\f\n\r\t`, []string{"\a\x1b\f\n\r\t"}, []string{"aefnrt"}},
	{`\Qa.b*\Ec*`, []string{"a.b*", "a.b*cc"}, []string{"axb", "a.b*c*"}},
	{`\Qab\E*`, []string{"a", "abb"}, []string{"abab"}},
	{`x\Ey`, []string{"xy"}, []string{"xEy"}},
	{`a\b-b`, []string{"a-b"}, []string{"ab"}},
	{`a\b.+\Bx`, []string{"a-bx"}, []string{"abx", "a-x"}},
	{`(a\z|b\Z)`, []string{"a", "b", "b\n"}, []string{"c", "a\n"}},
	{`(a$|b)`, []string{"a", "b"}, []string{"ab"}},
	{`a(b$|c).*`, []string{"ab", "acx"}, []string{"abx"}},
	{`a\Z`, []string{"a", "a\n"}, []string{"ab"}},
	{`a\z`, []string{"a"}, []string{"a\n", "ab"}},
	{`(?i)aBc`, []string{"abc", "ABC"}, []string{"ab"}},
	{`a(?i)b(?-i)c`, []string{"abc", "aBc"}, []string{"Abc", "abC"}},
	{`a(?i:b|c)d`, []string{"aBd", "acd"}, []string{"aBD"}},
	{`(?i)[k-m]`, []string{"K", "l"}, []string{"n"}},
	{`a(?-s).b`, []string{"axb"}, []string{"a\nb"}},
	// With backtracking.
	{`(?!x).*`, []string{"a"}, []string{"x", "xa"}},
	{`(?=a)[a-z]+`, []string{"ab"}, []string{"ba"}},
	{`.+(?<!-)b`, []string{"ab"}, []string{"-b"}},
	{`.+(?<=-)b`, []string{"-b"}, []string{"ab"}},
	{`(?>a+)b`, []string{"aab"}, []string{"b"}},
	{`(?>a*)ab`, []string{}, []string{"ab", "aab"}},
	{`a*+ab`, []string{}, []string{"ab", "aab"}},
	{`[^/]*+`, []string{"ab"}, []string{}},
	{`(ab)?+c(d{1,2}+)`, []string{"abcd", "cdd"}, []string{"ab"}},
	{`(a|b)\1`, []string{"aa", "bb"}, []string{"ab"}},
	{`(.)(.)\2\1`, []string{"abba"}, []string{"abab"}},
	{`(?!x)a\bé?-.\B`, []string{}, []string{"a-b"}},
	{`(?!x)a\b-b`, []string{"a-b"}, []string{"ab"}},
	{`(?!x).+\Bb`, []string{"ab"}, []string{"-b"}},
	{`(?!x).+\bb`, []string{"-b", "õb"}, []string{"ab"}},
	{`(?!x).[\wé]\d\s?`, []string{}, []string{"x1"}},
	{`(?!x)\w+`, []string{"abc"}, []string{"é"}},
}

// TestExpressions has libselinux match the same expressions.
func TestExpressions(t *testing.T) {
	var specs strings.Builder
	specs.WriteString("/.* no\n")
	names := paths{}
	kept := expressions[:0:0]
	for _, e := range expressions {
		// The policy's files are ASCII without white space: some rows are for TestTranslate alone.
		if strings.ContainsFunc(e.pattern, func(r rune) bool { return r <= ' ' || r >= utf8.RuneSelf }) {
			continue
		}
		fmt.Fprintf(&specs, "/%d-%s yes\n", len(kept), e.pattern)
		for _, name := range append(e.yes, e.no...) {
			names.add(file, fmt.Sprintf("/%d-%s", len(kept), name))
		}
		kept = append(kept, e)
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	root := policyDir(t, map[string]string{"file_contexts": specs.String()})
	p := load(t, repo, root)
	landTree(t, repo, names)
	all := labels(t, repo, oracle(t, repo, root, "tree"))
	compare(t, p, all)
	for i, e := range kept {
		for want, list := range map[string][]string{"yes\x00": e.yes, "no\x00": e.no} {
			for _, name := range list {
				if got := all[fmt.Sprintf("/%d-%s", i, name)].label; got != want {
					t.Errorf("%s on %q: ostree says %q, the test %q", e.pattern, name, got, want)
				}
			}
		}
	}
}

// TestTranslate tries expressions from the very beginning of a path, and in both forms.
func TestTranslate(t *testing.T) {
	for _, e := range expressions {
		linear, err := translate(e.pattern, false)
		if err != nil && !errors.Is(err, errBacktrack) {
			t.Errorf("%s: %v", e.pattern, err)
			continue
		}
		general, err2 := compileGeneral(e.pattern)
		if err2 != nil {
			t.Errorf("%s: %v", e.pattern, err2)
			continue
		}
		for _, name := range append(e.yes, e.no...) {
			checkTranslation(t, e.pattern, linear, err == nil, general, name)
		}
	}
}

// checkTranslation asserts that both forms agree on a name, and that the fixed texts are in what matches.
func checkTranslation(t *testing.T, pattern string, linear translation, isLinear bool, general *regexp2.Regexp, name string) {
	t.Helper()
	sub := newSubject(name)
	slow, err := general.MatchString(sub.text)
	if err != nil || !isLinear {
		return
	}
	if !sub.multiline && strings.Count(linear.text, "(?-s") == 0 {
		if fast := regexp.MustCompile(linear.text).MatchString(sub.text); fast != slow {
			t.Errorf("%q on %q: linear %t, backtracking %t", pattern, name, fast, slow)
		}
	}
	if slow {
		rest, ok := strings.CutPrefix(name, linear.prefix)
		if !ok || !strings.Contains(rest, linear.need) {
			t.Errorf("%q matches %q without %q or %q", pattern, name, linear.prefix, linear.need)
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
		got, err := translate(tt.pattern, false)
		if err != nil || got.prefix != tt.prefix || got.rest != tt.rest || got.need != tt.need {
			t.Errorf("%s: prefix %q, rest %q, need %q, %v", tt.pattern, got.prefix, got.rest, got.need, err)
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
		_, err := translate(pattern, false)
		if errors.Is(err, errBacktrack) {
			_, err = translate(pattern, true)
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.50s: error %v, want one with %s", pattern, err, want)
		}
	}
}

// TestEndlessMatch has an expression that backtracks for ages.
func TestEndlessMatch(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	p := load(t, repo, policyDir(t, base(`/a/(?!x)((b+)+)+c one`)))
	if got, ok := p.Label("/a/bbc", file); got != "one" || !ok || p.Err() != nil {
		t.Errorf("label %q (%t), %v", got, ok, p.Err())
	}
	tree := landTree(t, repo, paths{}.add(file, "/a/"+strings.Repeat("b", 200)))
	st := staging(t, repo)
	_, _, err := Relabel(t.Context(), st, tree, p, "/")
	if !errors.Is(err, ErrUnusable) || !strings.Contains(err.Error(), "file_contexts, line 3") || !strings.Contains(err.Error(), `"/a/bbb`) || p.Err() == nil {
		t.Errorf("error %v", err)
	}
}

func FuzzTranslate(f *testing.F) {
	for _, e := range expressions {
		for _, name := range append(e.yes, e.no...) {
			f.Add(e.pattern, name)
		}
	}
	if text, err := os.ReadFile(installed + "/contexts/files/file_contexts"); err == nil {
		for i, line := range strings.Split(string(text), "\n") {
			if fields := fieldsOf(line); i%50 == 0 && len(fields) > 0 {
				f.Add(fields[0], fields[0])
			}
		}
	}
	f.Fuzz(func(t *testing.T, pattern, name string) {
		if strings.ContainsAny(name, "\x00") {
			return
		}
		linear, err := translate(pattern, false)
		general, err2 := compileGeneral(pattern)
		if err == nil && err2 != nil {
			t.Fatalf("%q: only without backtracking: %v", pattern, err2)
		}
		if err2 != nil {
			return
		}
		if err == nil {
			if _, err := regexp.Compile(linear.text); err != nil {
				return // too large for it: the other is taken
			}
		}
		general.MatchTimeout /= 10
		if len(name) < 100 {
			checkTranslation(t, pattern, linear, err == nil, general, name)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("/.* a\n/b -d c\n/(c d\n", "/a /b\n/c /\n", "/a/x")
	f.Add("\t#\n/a+ -- b\x00\n/c(/.*)? <<none>>", "/x", "/")
	f.Fuzz(func(t *testing.T, specs, subs, path string) {
		src := &sources{files: map[string]string{mainFile: specs, subsFile: subs}}
		p, err := src.compile(t.Context())
		if err != nil || len(path) > 100 {
			return
		}
		for _, mode := range []uint32{0, dir, file, symlink} {
			text, ok := p.Label("/"+path, mode)
			x, okX := p.Xattr("/"+path, mode)
			if ok != okX || ok && string(x.Value) != text+"\x00" {
				t.Errorf("%q (%t), %q (%t)", text, ok, x.Value, okX)
			}
		}
	})
}
