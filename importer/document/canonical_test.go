package document

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gowebpki/jcs"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"white space", " { \"b\" : [ 1 , 2 ],\n\"a\":\tnull } ", `{"a":null,"b":[1,2]}`},
		{"keys by UTF-16 code units", `{"\ufb33":1,"\ud83d\ude00":2,"\u20ac":3,"1":4,"\r":5,"\u0080":6,"\u00f6":7,"":8,"\ud83d\ude01":9}`,
			"{\"\":8,\"\\r\":5,\"1\":4,\"\u0080\":6,\"ö\":7,\"€\":3,\"😀\":2,\"😁\":9,\"\ufb33\":1}"},
		{"a key that begins another", `{"ab":1,"a":2,"abc":3}`, `{"a":2,"ab":1,"abc":3}`},
		{"numbers", `[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001,-0,-0.0,1e21,1e20,1e-6,1e-7,100,5e-324,1e-400]`,
			`[333333333.3333333,1e+30,4.5,0.002,1e-27,0,0,1e+21,100000000000000000000,0.000001,1e-7,100,5e-324,0]`},
		{"a large integer", `[12345678901234567890,9007199254740993]`, `[12345678901234567000,9007199254740992]`},
		{"escapes", `"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/\u007f\u2028<>&"`, "\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\u007f\u2028<>&\""},
		{"a replacement character", `["\ufffd","` + "\ufffd" + `"]`, "[\"\ufffd\",\"\ufffd\"]"},
		{"literals", `[true,false,null,{},[]]`, `[true,false,null,{},[]]`},
		{"a text", `"x"`, `"x"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, replaced, err := Canonical([]byte(c.in))
			if err != nil || replaced != nil || string(got) != c.want {
				t.Errorf("got %q, %v, %v\nwant %q", got, replaced, err, c.want)
			}
		})
	}
}

func TestCanonicalReplaces(t *testing.T) {
	for _, c := range []struct{ name, in, want, what string }{
		{"a repeated key", `{"b":1,"a":{"x":1},"b":2,"a":{"y":3}}`, `{"a":{"y":3},"b":2}`, "twice"},
		{"a key repeated by an escape", `{"a":1,"\u0061":2}`, `{"a":2}`, "twice"},
		{"a repeated key after another replacement", `["\ud800",{"a":1,"a":2}]`, "[\"\ufffd\",{\"a\":2}]", "twice"},
		{"a high surrogate", `"\ud800x"`, "\"\ufffdx\"", "Unicode"},
		{"a low surrogate", `"\udc00"`, "\"\ufffd\"", "Unicode"},
		{"surrogates in the wrong order", `"\udc00\ud800"`, "\"\ufffd\ufffd\"", "Unicode"},
		{"a high surrogate before another escape", `"\ud800\u0041"`, "\"\ufffdA\"", "Unicode"},
		{"a surrogate behind an escaped backslash", `"\\ufffd\ud800"`, "\"\\\\ufffd\ufffd\"", "Unicode"},
		{"not UTF-8", "\"a\xffb\"", "\"a\ufffdb\"", "Unicode"},
		{"a surrogate in UTF-8", "\"\xed\xa0\x80\"", "\"\ufffd\ufffd\ufffd\"", "Unicode"},
		{"in a key", `{"\ud800":1}`, "{\"\ufffd\":1}", "Unicode"},
		{"a large number", `[1e400,-1e999999]`, `[1.7976931348623157e+308,-1.7976931348623157e+308]`, "range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, replaced, err := Canonical([]byte(c.in))
			if err != nil || string(got) != c.want || replaced == nil || !strings.Contains(replaced.Error(), c.what) {
				t.Errorf("got %q, %v, %v\nwant %q", got, replaced, err, c.want)
			}
			if errors.Is(replaced, ErrAmbiguous) != (c.what == "twice") {
				t.Errorf("replaced is %v", replaced)
			}
		})
	}
}

func TestCanonicalRefuses(t *testing.T) {
	for _, in := range []string{
		"", " ", "{", "[1,", "[1,]", `{"a"}`, `{"a":1,}`, `{1:2}`, "nul", "1 2", "{}}", `"a`, "01", "+1", `"\x"`, "\"\n\"",
		strings.Repeat("[", maxNesting+2) + strings.Repeat("]", maxNesting+2), strings.Repeat(`{"a":`, 1<<20),
	} {
		if got, _, err := Canonical([]byte(in)); err == nil {
			t.Errorf("%.50q became %.50q", in, got)
		}
	}
}

// TestCanonicalIsLinear wants documents that are as large as they may be, and of the worst kinds,
// done in little time.
func TestCanonicalIsLinear(t *testing.T) {
	fill := func(open, end, format string) []byte {
		var b bytes.Buffer
		b.WriteString(open)
		for i := 0; b.Len() < MaxSize-100; i++ {
			if i > 0 {
				b.WriteByte(',')
			}
			fmt.Fprintf(&b, format, MaxSize-i)
		}
		b.WriteString(end)
		return b.Bytes()
	}
	prefix := strings.Repeat("x", 1000)
	for name, raw := range map[string][]byte{
		"many labels":       fill(`{"config":{"Labels":{`, "}}}", `"%d":""`),
		"one label":         fill("{", "}", `"a":%d`),
		"labels much alike": fill("{", "}", `"`+prefix+`%d":0`),
		"a long history":    fill(`{"history":[`, "]}", `{"a":%d}`),
		"numbers":           fill("[", "]", "%de9"),
		"deep": []byte(strings.Repeat(`{"b":1,"a":`, maxNesting-1) + `"` + strings.Repeat("x", MaxSize-5000) + `"` +
			strings.Repeat("}", maxNesting-1)),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			if _, _, err := Canonical(raw); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%d bytes took %v", len(raw), took)
			}
		})
	}
}

// TestCanonicalAsJCS compares with another implementation on documents drawn at random.
func TestCanonicalAsJCS(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var b strings.Builder
		draw(&b, random, 0)
		want, err := jcs.Transform([]byte(b.String()))
		got, replaced, gotErr := Canonical([]byte(b.String()))
		if err != nil { // of a repeated key, or a number out of range
			if gotErr != nil || replaced == nil {
				t.Fatalf("%s\n%v, but %v and %v", b.String(), err, replaced, gotErr)
			}
			continue
		}
		if gotErr != nil || replaced != nil || !bytes.Equal(got, want) {
			t.Fatalf("%s\ngives %s, %v, %v\nwant %s", b.String(), got, replaced, gotErr, want)
		}
	}
}

// draw writes a JSON value.
func draw(b *strings.Builder, random *rand.Rand, depth int) {
	list := func(open, end string, item func()) {
		b.WriteString(open)
		for i := range random.IntN(6) {
			if i > 0 {
				b.WriteString(", ")
			}
			item()
		}
		b.WriteString(end)
	}
	text := func() {
		const pieces = "a é € 😀 \ufffd \ufb33 \\n \\\\ \\u0000 \\ud83d\\ude01 \\ufffd \\/ \u2028 \u007f b"
		b.WriteByte('"')
		for range random.IntN(4) {
			b.WriteString(strings.Fields(pieces)[random.IntN(len(strings.Fields(pieces)))])
		}
		b.WriteByte('"')
	}
	switch kind := random.IntN(8); {
	case kind < 2 && depth < 4:
		list("{", "}", func() {
			text()
			b.WriteString(" : ")
			draw(b, random, depth+1)
		})
	case kind < 4 && depth < 4:
		list("[", "]", func() { draw(b, random, depth+1) })
	case kind < 6:
		fmt.Fprintf(b, "%de%d", random.Int64N(1<<random.IntN(60))-5, random.IntN(40)-20)
	case kind == 6:
		text()
	default:
		b.WriteString([]string{"true", "false", "null"}[random.IntN(3)])
	}
}
