package layertar

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
)

// longChain is a row of symbolic links whose targets have thousands of components each. The last
// leads to the directory end.
func longChain() []entry {
	entries := []entry{dir("end")}
	for i := range 39 {
		target := fmt.Sprintf("/s%d/%s", i+1, strings.Repeat("./", 2000))
		if i == 38 {
			target = "/end/" + strings.Repeat("./", 2000)
		}
		entries = append(entries, symlink(fmt.Sprintf("s%d", i), target))
	}
	return entries
}

// TestLongChainsOfLinks wants the time for paths through symbolic links to depend on the size of
// the archive, not on what the links multiply. Following the chain for each entry takes minutes.
func TestLongChainsOfLinks(t *testing.T) {
	const n = 5000
	row := func(add func(i int) []entry) []entry {
		entries := longChain()
		for i := range n {
			entries = append(entries, add(i)...)
		}
		return entries
	}
	one := func(e entry) []entry { return []entry{e} }
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, test := range []struct {
		name    string
		entries []entry
		refused bool
	}{
		{"files", row(func(i int) []entry { return one(file(fmt.Sprintf("s0/f%d", i), "")) }), false},
		{"directories", row(func(i int) []entry { return one(dir(fmt.Sprintf("s0/d%d", i))) }), false},
		{"markers", row(func(i int) []entry { return one(file(fmt.Sprintf("s0/.wh.f%d", i), "")) }), false},
		{"hard links", append(row(func(i int) []entry { return one(link(fmt.Sprintf("l%d", i), "s0/f")) }), file("end/f", "")), false},
		{"many links", row(func(i int) []entry {
			return []entry{symlink(fmt.Sprintf("l%d", i), "s0"), file(fmt.Sprintf("l%d/f%d", i, i), "")}
		}), true},
		{"links at the end of the chain", row(func(i int) []entry {
			return one(symlink(fmt.Sprintf("s0/l%d", i), "f"))
		}), true},
	} {
		t.Run(test.name, func(t *testing.T) {
			data := archive(t, test.entries...)
			start := time.Now()
			_, _, err := Import(t.Context(), newStaging(t, repo), bytes.NewReader(data), layerOf(data, data), Options{})
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			var entry *EntryError
			if refused := errors.As(err, &entry) && strings.Contains(err.Error(), "16777216 components"); refused != test.refused || err != nil && !refused {
				t.Errorf("Import = %v", err)
			}
		})
	}
}

// TestRememberedLinks wants entries to go where a link leads at their turn in the archive.
func TestRememberedLinks(t *testing.T) {
	data := archive(t,
		dir("a"), dir("b"), symlink("l", "a"), symlink("m", "l"), file("m/1", ""),
		symlink("l", "b"), file("m/2", ""),
		dir("l"), file("m/3", ""),
		symlink("b/up", ".."), file("b/up/a/4", ""), file("b/up/m/5", ""),
	)
	repo := newRepo(t, ostreerepo.ModeBareUser)
	commit, _ := land(t, repo, data, Options{})
	got := strings.Join(listing(t, repo, commit), "\n")
	for _, path := range []string{"/a/1", "/b/2", "/l/3", "/a/4", "/l/5"} {
		if !strings.Contains(got+"\n", " "+path+"\n") {
			t.Errorf("%s is missing:\n%s", path, got)
		}
	}
}
