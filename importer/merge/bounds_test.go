package merge

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// longChain is a row of symbolic links whose targets have thousands of components each, and n
// links to its first. The last leads to the directory end.
func longChain(n int) []string {
	lines := []string{"d end"}
	for i := range 39 {
		target := fmt.Sprintf("/s%d/", i+1)
		if i == 38 {
			target = "/end/"
		}
		lines = append(lines, fmt.Sprintf("l s%d %s%s", i, target, strings.Repeat("./", 2000)))
	}
	for i := range n {
		lines = append(lines, fmt.Sprintf("l l%d s0", i))
	}
	return lines
}

// TestMergeTakesTimeForItsSize wants the time for a merge to depend on the size of the layers, not
// on what their links and paths multiply.
func TestMergeTakesTimeForItsSize(t *testing.T) {
	const n = 1000
	var through, apart []string
	for i := range n {
		through = append(through, fmt.Sprintf("f s0/d%d/f 1", i))
		apart = append(apart, fmt.Sprintf("f l%d/f 1", i), fmt.Sprintf("f l%d/.wh.g", i))
	}
	deep := strings.Repeat("d/", 1000)
	r := newTestRepo(t)
	for _, test := range []struct {
		name   string
		layers [][]string
		want   error
	}{
		{"through one link", [][]string{longChain(0), through}, nil},
		{"through many links", [][]string{longChain(n), apart}, errTooManySteps},
		{"markers and files far below", [][]string{{"d d"}, {"f " + deep + ".wh.x", "f " + deep + "y 1"}}, nil},
		{"a link to far below", [][]string{{"l l " + deep, "f " + deep + "y 1"}, {"f l/z 1"}}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &testRepo{TB: t, repo: r.repo}
			st, err := r.repo.NewStaging()
			r.must(err)
			defer func() { r.must(st.Close()) }()
			layers := []objects.Checksum{r.writeTree(st, test.layers[0], false), r.writeTree(st, test.layers[1], false)}
			start := time.Now()
			_, err = Merge(t.Context(), st, nil, layers, Options{})
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("it took %v", took)
			}
			if !errors.Is(err, test.want) {
				t.Errorf("error %v, want %v", err, test.want)
			}
		})
	}
}
