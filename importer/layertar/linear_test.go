package layertar

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// TestTimeForSize has layers with much of one thing. Twice as much must not take many times as
// long.
func TestTimeForSize(t *testing.T) {
	many := func(n int, e func(i int) entry) []entry {
		entries := make([]entry, n)
		for i := range entries {
			entries[i] = e(i)
		}
		return entries
	}
	deep := strings.Repeat("d/", 2000)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, test := range []struct {
		name    string
		n       int
		entries func(n int) []entry
	}{
		{"attributes of one entry", 5_000, func(n int) []entry {
			e := dir("d")
			for i := range n {
				xattr(fmt.Sprintf("user.%d", i), "value")(&e)
			}
			return []entry{e}
		}},
		{"attributes of all entries", 300, func(n int) []entry {
			return many(n, func(i int) entry {
				e := dir(fmt.Sprint("d", i))
				for k := range 20 {
					xattr(fmt.Sprintf("user.%d", k), fmt.Sprint(i))(&e)
				}
				return e
			})
		}},
		{"a chain of hard links to the end", 5_000, func(n int) []entry {
			return append(many(n, func(i int) entry { return link(fmt.Sprint("l", i), fmt.Sprint("l", i+1)) }), file(fmt.Sprint("l", n), ""))
		}},
		{"a chain of hard links from the beginning", 5_000, func(n int) []entry {
			return append([]entry{file("l0", "")}, many(n, func(i int) entry { return link(fmt.Sprint("l", i+1), fmt.Sprint("l", i)) })...)
		}},
		{"hard links to one file", 5_000, func(n int) []entry {
			return append([]entry{file("f", "")}, many(n, func(i int) entry { return link(fmt.Sprint("l", i), "f") })...)
		}},
		{"hard links to a file that comes later, and is a link", 5_000, func(n int) []entry {
			return append(many(n, func(i int) entry { return link(fmt.Sprint("d/l", i), "z/f") }), symlink("z/f", "x"))
		}},
		{"entries far below", 300, func(n int) []entry {
			return many(n, func(i int) entry { return dir(deep + fmt.Sprint(i)) })
		}},
		{"hard links far below", 300, func(n int) []entry {
			return append(many(n, func(i int) entry { return link(deep+fmt.Sprint(i), deep+"f") }), file(deep+"f", ""))
		}},
		{"implied directories", 5_000, func(n int) []entry {
			return many(n, func(i int) entry { return dir(fmt.Sprintf("a/%d/b", i)) })
		}},
		{"whiteouts in one directory", 5_000, func(n int) []entry {
			return many(n, func(i int) entry { return file(fmt.Sprint("d/.wh.", i), "") })
		}},
		{"opaque markers", 5_000, func(n int) []entry {
			return many(n, func(i int) entry { return file(fmt.Sprintf("d/%d/.wh..wh..opq", i), "") })
		}},
		{"one entry again and again", 5_000, func(n int) []entry {
			return many(n, func(i int) entry { return dir("d", owned(i, i)) })
		}},
		{"entries that are left out", 5_000, func(n int) []entry {
			return many(n, func(i int) entry { return dir(fmt.Sprint("tmp/", i)) })
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			times := [2]time.Duration{}
			for i := range times {
				data := archive(t, test.entries(test.n<<i)...)
				start := time.Now()
				if _, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{}); err != nil {
					t.Fatal(err)
				}
				times[i] = time.Since(start)
			}
			t.Logf("%d take %v, twice as many %v", test.n, times[0], times[1])
			if times[1] > 20*time.Second+5*times[0] {
				t.Errorf("%d take %v, twice as many %v", test.n, times[0], times[1])
			}
		})
	}
}
