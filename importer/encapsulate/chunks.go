package encapsulate

import (
	"bytes"
	"cmp"
	"math"
	"math/bits"
	"slices"
)

const (
	// minOwn is the weight from which a component gets a chunk of its own.
	minOwn = 1 << 20
	// bucketSize is the size in bytes that a chunk of small components should not exceed by much,
	// while there may be more chunks.
	bucketSize = 8 << 20
)

// chunk is what one layer holds.
type chunk struct {
	components []string // sorted
	contents   []*content
}

// weight is what the component's changes of a year make others fetch, in bytes, as a power of two:
// so that the order by weight seldom changes. The kernel always comes first.
func (c *component) weight() int {
	if c.name == kernelName {
		return math.MaxInt
	}
	return bits.Len64(uint64(c.size)) + bits.Len64(uint64(c.changes)+1) - 1
}

// heavy reports whether a chunk of its own makes sense.
func (c *component) heavy() bool {
	return c.weight() >= bits.Len64(minOwn)
}

// pack puts components, which are sorted by name, together to at most n chunks, n being at least 1,
// so that a small change of the commit changes few of them: what was in one chunk of a prior image
// stays together; the heaviest others get a chunk each; the hash of its name assigns each of the
// rest to one of some buckets.
func pack(parts []*component, prior [][]string, n int) []chunk {
	chunks := make([][]*component, min(len(prior), n))
	rest := keepPrior(parts, prior, chunks)
	chunks = slices.DeleteFunc(chunks, func(c []*component) bool { return len(c) == 0 })

	shared := sharing(chunks)
	room, buckets := n-len(chunks), 0
	if len(shared) == 0 && room > 0 {
		buckets = bucketCount(rest, room)
	}
	heavy, light := splitWeight(rest, room-buckets)
	for _, c := range heavy {
		chunks = append(chunks, []*component{c})
	}
	for range buckets {
		shared = append(shared, len(chunks))
		chunks = append(chunks, nil)
	}
	for _, c := range light {
		h := int(hash(c.name) % math.MaxInt)
		at := h % len(chunks)
		if len(shared) > 0 {
			at = shared[h%len(shared)]
		}
		chunks[at] = append(chunks[at], c)
	}
	return finish(chunks)
}

// keepPrior puts components into the chunks that they were in before, and returns the others.
func keepPrior(parts []*component, prior [][]string, chunks [][]*component) (rest []*component) {
	at := make(map[string]int)
	for i := range chunks {
		for _, name := range prior[i] {
			if _, known := at[name]; !known {
				at[name] = i
			}
		}
	}
	for _, c := range parts {
		if i, known := at[c.name]; known {
			chunks[i] = append(chunks[i], c)
		} else {
			rest = append(rest, c)
		}
	}
	return rest
}

// sharing gives the indices of the chunks that several components share.
func sharing(chunks [][]*component) (indices []int) {
	for i, c := range chunks {
		if len(c) > 1 {
			indices = append(indices, i)
		}
	}
	return indices
}

// bucketCount is how many of n chunks are for small components: a power of two, and at most a
// quarter.
func bucketCount(parts []*component, n int) int {
	var small int64
	for _, c := range parts {
		if !c.heavy() {
			small += c.size
		}
	}
	buckets := 1
	for buckets*2 <= n/4 && small/int64(buckets) > bucketSize {
		buckets *= 2
	}
	return buckets
}

// splitWeight gives the n heaviest of those components that are heavy enough, sorted by name, and
// the rest.
func splitWeight(parts []*component, n int) (heavy, light []*component) {
	for _, c := range parts {
		if c.heavy() {
			heavy = append(heavy, c)
		} else {
			light = append(light, c)
		}
	}
	slices.SortStableFunc(heavy, func(a, b *component) int { return cmp.Compare(b.weight(), a.weight()) })
	n = min(max(n, 0), len(heavy))
	light = append(light, heavy[n:]...)
	heavy = heavy[:n]
	slices.SortFunc(heavy, func(a, b *component) int { return cmp.Compare(a.name, b.name) })
	return heavy, light
}

// finish turns sets of components into chunks. Empty ones go.
func finish(sets [][]*component) []chunk {
	var chunks []chunk
	for _, set := range sets {
		if len(set) == 0 {
			continue
		}
		var c chunk
		for _, part := range set {
			c.components = append(c.components, part.name)
			c.contents = append(c.contents, part.contents...)
		}
		slices.Sort(c.components)
		slices.SortFunc(c.contents, func(a, b *content) int { return bytes.Compare(a.checksum[:], b.checksum[:]) })
		chunks = append(chunks, c)
	}
	return chunks
}
