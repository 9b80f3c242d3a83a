package merge

import (
	"fmt"
	"testing"
	"time"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// TestManyLayers has many layers that all change one directory. Twice as many must not take many
// times as long.
func TestManyLayers(t *testing.T) {
	const most = 400
	r := newTestRepo(t)
	for _, test := range []struct {
		name  string
		layer func(i int) []string
	}{
		{"new files", func(i int) []string {
			lines := []string{"d d"}
			for k := range 50 {
				lines = append(lines, fmt.Sprintf("f d/%d-%d 1", i, k))
			}
			return lines
		}},
		{"the same files", func(i int) []string {
			lines := []string{"i d"}
			for k := range 50 {
				lines = append(lines, fmt.Sprintf("f d/%d %d", k, i%3))
			}
			return lines
		}},
		{"whiteouts", func(i int) []string {
			return []string{"d d", fmt.Sprintf("f d/%d 1", i), fmt.Sprintf("f d/.wh.%d 1", i-1)}
		}},
		{"opaque directories", func(i int) []string {
			return []string{"d d", "f d/.wh..wh..opq", fmt.Sprintf("f d/%d 1", i)}
		}},
		{"behind a link", func(i int) []string {
			if i == 0 {
				return []string{"d d", "l l d"}
			}
			return []string{"i l", fmt.Sprintf("f l/%d 1", i), "f l/.wh.x"}
		}},
		{"directory and file in turn", func(i int) []string {
			if i%2 == 0 {
				return []string{"f d 1"}
			}
			return []string{"d d", "f d/f 1"}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &testRepo{TB: t, repo: r.repo}
			st, err := r.repo.NewStaging()
			r.must(err)
			defer func() { r.must(st.Close()) }()
			layers := make([]objects.Checksum, most)
			for i := range layers {
				layers[i] = r.writeTree(st, test.layer(i), false)
			}
			var times [2]time.Duration
			for i := range times {
				start := time.Now()
				_, err := Merge(t.Context(), st, nil, layers[:most/2<<i], Options{})
				r.must(err)
				times[i] = time.Since(start)
			}
			t.Logf("%d layers take %v, twice as many %v", most/2, times[0], times[1])
			if times[1] > 20*time.Second+5*times[0] {
				t.Errorf("%d layers take %v, twice as many %v", most/2, times[0], times[1])
			}
		})
	}
}
