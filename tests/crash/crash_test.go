//go:build crash

package crash

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// hit is one kill.
type hit struct {
	operation string
	daemon    bool    // the daemon does it, else ostree-importctl --local
	point     string  // the place of death; "" for a random moment
	nth       int     // the passing of the place
	target    string  // of a random kill: the program
	delay     float64 // of a random kill: the part of the operation's usual time
}

func (h hit) String() string {
	by := "--local"
	if h.daemon {
		by = "by the daemon"
	}
	if h.point != "" {
		return fmt.Sprintf("%s %s, at %q, passing %d", h.operation, by, h.point, h.nth)
	}
	return fmt.Sprintf("%s %s, %s after %.0f %% of the time", h.operation, by, h.target, 100*h.delay)
}

// run does a worker's part of the hits.
func run(t *testing.T, seed int64, worker int) {
	w := newWorld(t)
	usual := measure(w)
	mandatory := mandatoryHits()
	wanted := int(number(t, "CRASH_HITS", defaultHits))
	only := number(t, "CRASH_ONLY", -1)
	done, tries := 0, 0
	kinds := map[string]int{}
	for i := worker; done*workers < wanted && tries < 3*wanted; i += workers {
		tries++
		var h hit
		if i < len(mandatory) {
			h = mandatory[i]
		} else {
			h = randomHit(rand.New(rand.NewPCG(uint64(seed), uint64(i))))
		}
		if only >= 0 && int(only) != i {
			if i > int(only) {
				break
			}
			continue
		}
		t.Run(fmt.Sprintf("%d %s", i, strings.ReplaceAll(h.String(), "/", " ")), func(t *testing.T) {
			own := *w
			own.TB = t
			o := operations[h.operation]
			at := &attempt{world: &own, hit: h, operation: o, usual: usual[h.operation]}
			if at.run() {
				done++
				kinds[kindOf(h)]++
			} else if i < len(mandatory) {
				t.Errorf("the place is not passed")
			}
		})
	}
	t.Logf("worker %d: %d kills in %d tries, seed %d: %v", worker, done, tries, seed, kinds)
	if only < 0 && done*workers < wanted {
		t.Errorf("only %d kills in %d tries", done, tries)
	}
}

func kindOf(h hit) string {
	if h.point != "" {
		return "places"
	}
	return h.target
}

// mandatoryHits kills at each place once in each program that passes it.
func mandatoryHits() []hit {
	var hits []hit
	for _, point := range slices.Sorted(maps.Keys(points)) {
		hits = append(hits, hit{operation: points[point], daemon: true, point: point, nth: 1})
		if !daemonOnly[point] {
			hits = append(hits, hit{operation: points[point], point: point, nth: 1})
		}
	}
	return hits
}

// randomHit kills at a later passing of a place, or some program at some moment.
func randomHit(r *rand.Rand) hit {
	if names := slices.Sorted(maps.Keys(points)); r.IntN(3) == 0 {
		h := hit{point: names[r.IntN(len(names))], nth: 1 + r.IntN(3)}
		h.operation, h.daemon = points[h.point], daemonOnly[h.point] || r.IntN(2) == 0
		return h
	}
	names := slices.Sorted(maps.Keys(operations))
	h := hit{operation: names[r.IntN(len(names))], daemon: r.IntN(2) == 0, delay: r.Float64()}
	targets := append([]string{"ostree-importctl"}, strings.Fields(operations[h.operation].helpers)...)
	if h.daemon {
		targets = append(targets, "ostree-importd")
	}
	h.target = targets[r.IntN(len(targets))]
	return h
}

// measure tells how long each operation takes when nobody kills it.
func measure(w *world) map[string]time.Duration {
	w.Helper()
	usual := map[string]time.Duration{}
	for name, o := range operations {
		w.reset(o.place)
		w.setVersion(o.version)
		begun := time.Now()
		w.mustRun(w.local(w.path("repo"), o.args(w)...))
		usual[name] = time.Since(begun)
	}
	return usual
}
