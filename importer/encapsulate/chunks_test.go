package encapsulate

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// parts makes components of a content each. What is listed is name, size in KiB, and changes in a
// year.
func parts(list ...any) []*component {
	var all []*component
	for i := 0; i < len(list); i += 3 {
		name := list[i].(string)
		c := &component{name: name, changes: list[i+2].(int)}
		c.add(&content{checksum: objects.ChecksumOf([]byte(name)), size: int64(list[i+1].(int)) << 10, paths: []string{name}})
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *component) int { return cmp.Compare(a.name, b.name) })
	return all
}

// distribution is a number of packages as an operating system has them: few large ones and many
// small ones.
func distribution(n int) []*component {
	r := rand.New(rand.NewPCG(1, 2))
	var list []any
	for i := range n {
		list = append(list, fmt.Sprintf("package-%d", i), 4<<r.IntN(5)<<r.IntN(11), r.IntN(20))
	}
	return parts(append(list, kernelName, 100, 0)...)
}

// describeChunks gives the components of each chunk.
func describeChunks(chunks []chunk) []string {
	var lines []string
	for _, c := range chunks {
		lines = append(lines, strings.Join(c.components, ","))
	}
	return lines
}

// checkPacked wants every component in exactly one of at most n chunks, none of which is empty.
func checkPacked(t *testing.T, chunks []chunk, all []*component, n int) {
	t.Helper()
	var names []string
	contents := 0
	for i, c := range chunks {
		if len(c.components) == 0 || len(c.contents) == 0 || !slices.IsSorted(c.components) {
			t.Errorf("chunk %d: %q, %d contents", i, c.components, len(c.contents))
		}
		names = append(names, c.components...)
		contents += len(c.contents)
	}
	slices.Sort(names)
	want := slices.Collect(func(yield func(string) bool) {
		for _, c := range all {
			if !yield(c.name) {
				return
			}
		}
	})
	if !slices.Equal(names, want) || contents != len(all) || len(chunks) > n {
		t.Errorf("%d chunks, at most %d wanted, with %d contents of %q, of which %d wanted: %q", len(chunks), n, contents, names, len(all), want)
	}
}

func TestPackLimits(t *testing.T) {
	for _, packages := range []int{0, 1, 3, 20, 60, 500} {
		for _, n := range []int{1, 2, 3, 4, 10, 63, 126} {
			all := distribution(packages)
			checkPacked(t, pack(all, nil, n), all, n)
			for _, prior := range [][][]string{{{"kernel"}}, {{"package-0"}, {"package-1"}, {"package-2"}}, {{"package-1", "package-2", "gone"}, {"package-2"}, {"gone"}}} {
				checkPacked(t, pack(all, prior, n), all, n)
			}
		}
	}
	if chunks := pack(nil, nil, 5); chunks != nil {
		t.Errorf("%v", chunks)
	}
}

func TestPack(t *testing.T) {
	all := parts("a", 2000, 0, "b", 10, 0, "c", 600, 1, "d", 600, 0, "e", 20_000, 0, kernelName, 1, 0, "z", 5, 0)
	for name, test := range map[string]struct {
		n     int
		prior [][]string
		want  []string
	}{
		"all heavy ones":              {20, nil, []string{"a", "c", "e", "kernel", "b,d,z"}},
		"the heaviest":                {3, nil, []string{"e", "kernel", "a,b,c,d,z"}},
		"the kernel first":            {2, nil, []string{"kernel", "a,b,c,d,e,z"}},
		"one":                         {1, nil, []string{"a,b,c,d,e,kernel,z"}},
		"as before":                   {20, [][]string{{"a", "b"}, {"c", "d", "e"}, {"kernel", "z"}}, []string{"a,b", "c,d,e", "kernel,z"}},
		"a new heavy one":             {20, [][]string{{"a", "b"}, {"c", "d"}, {"kernel", "z"}}, []string{"a,b", "c,d", "kernel,z", "e"}},
		"a new light one":             {20, [][]string{{"a"}, {"c", "d"}, {"e"}, {"kernel", "z"}}, []string{"a", "b,c,d", "e", "kernel,z"}},
		"no room":                     {2, [][]string{{"a"}, {"c"}, {"e"}}, []string{"a,b,e,kernel", "c,d,z"}},
		"nothing shared before":       {20, [][]string{{"a"}, {"gone"}}, []string{"a", "c", "e", "kernel", "b,d,z"}},
		"the first of two chunks has": {2, [][]string{{"a", "b", "c"}, {"a", "d", "e", "kernel", "z"}}, []string{"a,b,c", "d,e,kernel,z"}},
	} {
		t.Run(name, func(t *testing.T) {
			chunks := pack(all, test.prior, test.n)
			checkPacked(t, chunks, all, test.n)
			if got := describeChunks(chunks); !slices.Equal(got, test.want) {
				t.Errorf("%q instead of %q", got, test.want)
			}
		})
	}
}

// TestPackStable counts the chunks that are not the same after a small change of the system: each
// has to be fetched again.
func TestPackStable(t *testing.T) {
	const packages, n = 500, 63
	before := distribution(packages)
	old := describeChunks(pack(before, nil, n))
	if len(old) < 40 {
		t.Fatalf("only %d chunks: %q", len(old), old)
	}
	changed := func(all []*component) (count int) {
		for _, c := range describeChunks(pack(all, nil, n)) {
			if !slices.Contains(old, c) {
				count++
			}
		}
		return count
	}
	without := func(all []*component, i int) []*component { return slices.Delete(slices.Clone(all), i, i+1) }
	for name, test := range map[string]struct {
		change func(i int) []*component
		max    int
	}{
		// One loses or gets the component; another one, or a component of it, may take the freed
		// place or make room.
		"a package goes":  {func(i int) []*component { return without(before, i) }, 3},
		"a small one new": {func(i int) []*component { return append(parts(fmt.Sprint("+new", i), i, 0), before...) }, 1},
		"a large one new": {func(i int) []*component { return append(parts(fmt.Sprint("+new", i), 100_000, 0), before...) }, 2},
		"one grows by 2 %": {func(i int) []*component {
			grown := *before[i]
			grown.size += grown.size / 50
			all := slices.Clone(before)
			all[i] = &grown
			return all
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			for i := range packages {
				if count := changed(test.change(i)); count > test.max {
					t.Fatalf("%d: %d chunks changed", i, count)
				}
			}
		})
	}
}

func TestPriorChunks(t *testing.T) {
	layer := func(components string) ocispec.Descriptor {
		return ocispec.Descriptor{Annotations: map[string]string{annotationComponents: components}}
	}
	got := priorChunks(&ocispec.Manifest{Layers: []ocispec.Descriptor{{}, layer("b,a,b"), layer(""), layer("c")}})
	if len(got) != 2 || !slices.Equal(got[0], []string{"a", "b"}) || !slices.Equal(got[1], []string{"c"}) {
		t.Errorf("%q", got)
	}
	if got := priorChunks(nil); got != nil {
		t.Errorf("%q", got)
	}
}

// someTree makes a tree of files with sizes, all of different content.
func someTree(files map[string]int64) *tree {
	t := &tree{contents: make(map[objects.Checksum]*content)}
	for name, size := range files {
		c := &content{checksum: objects.ChecksumOf([]byte(name)), size: size, paths: []string{name}}
		t.contents[c.checksum] = c
	}
	return t
}

func names(all []*component) (names []string) {
	for _, c := range all {
		names = append(names, c.name)
	}
	return names
}

func TestPartBySize(t *testing.T) {
	p := newPackages(someTree(map[string]int64{
		"top": 1, "usr/bin/a": 1, "usr/bin/b": 2, "usr/share/doc/x/y": 3, "usr/share/doc/z": 4, "usr/lib/a,b/c": 5,
		"usr/lib/modules/1/vmlinuz": 6, "usr/lib/modules/1/initramfs": 7,
	}))
	all := p.part()
	if got, want := names(all), []string{"/", "/usr/bin", "/usr/lib/a_b", "/usr/share/doc", kernelName}; !slices.Equal(got, want) {
		t.Errorf("%q instead of %q", got, want)
	}
	if all[4].size != 13 || all[3].size != 7 || len(all[3].contents) != 2 {
		t.Errorf("%+v", all)
	}
}

// TestPartLarge splits a directory so that a file stays where it was when others come and go.
func TestPartLarge(t *testing.T) {
	files := make(map[string]int64)
	for i := range 100 {
		files[fmt.Sprintf("usr/lib/%d", i)] = 4 << 20
	}
	at := func() map[string]string {
		in := make(map[string]string)
		for _, c := range newPackages(someTree(files)).part() {
			if c.size > 2*maxUnit {
				t.Errorf("%s has %d bytes", c.name, c.size)
			}
			for _, content := range c.contents {
				in[content.paths[0]] = c.name
			}
		}
		return in
	}
	before := at()
	files["usr/lib/new"] = 1 << 20
	delete(files, "usr/lib/7")
	after := at()
	delete(after, "usr/lib/new")
	if len(after) != 99 {
		t.Errorf("%d files", len(after))
	}
	for name, in := range after {
		if before[name] != in {
			t.Errorf("%s was in %s and is in %s", name, before[name], in)
		}
	}
}

// TestPartMany wants fewer levels when there are too many directories.
func TestPartMany(t *testing.T) {
	files := make(map[string]int64)
	for i := range maxUnits + 1 {
		files[fmt.Sprintf("usr/share/%d/file", i)] = 1
	}
	if got := names(newPackages(someTree(files)).part()); !slices.Equal(got, []string{"/usr/share"}) {
		t.Errorf("%q", got)
	}
	for i := range maxUnits + 1 {
		files[fmt.Sprintf("%d/file", i)] = 1
	}
	if got := names(newPackages(someTree(files)).part()); !slices.Equal(got, []string{"/"}) {
		t.Errorf("%d components", len(got))
	}
}
