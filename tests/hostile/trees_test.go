//go:build hostile

package hostile

import (
	"archive/tar"
	"fmt"
	"strings"
	"time"

	"github.com/ostree-importd/ostree-importd/tests/fixture/ociimage"
)

// treeRows are about what an image's entries mean.
func treeRows() []row {
	const bad = "UnsupportedImage"
	rows := []row{
		imageRow("a path that leads out", bad, `"../outside"`, archive(file("../outside"))),
		imageRow("a path that leads out from below", bad, "", archive(file("usr/../../outside"))),
		imageRow("an absolute path that leads out", bad, "", archive(file("/../../etc/passwd"))),
		imageRow("a path with .. that stays inside", bad, "", archive(file("usr/x/../y"))),
		imageRow("an absolute path", "", "", archive(file("/usr/absolute"))),
		imageRow("a path of dots and slashes", "", "", archive(file("./././usr//./dots"))),
		imageRow("the root as a file", "UnsupportedImage", "", archive(file("."))),
		imageRow("a name that is not UTF-8", bad, "", archive(entry{Header: tar.Header{Name: "usr/\xff", Mode: 0o644, Format: tar.FormatGNU}})),
		imageRow("a name with control characters", "", "", archive(file("usr/a\nb\x1b[31m"))),
		imageRow("a name of 256 bytes", bad, "", archive(file("usr/"+strings.Repeat("n", 256)))),
		imageRow("a name of 255 bytes", "", "", archive(file("usr/"+strings.Repeat("n", 255)))),
		imageRow("a path of 5,000 bytes", bad, "", archive(file(strings.Repeat("usr/", 1250)+"f"))),
		imageRow("a path of 1,000 directories", "", "", archive(file("usr/"+strings.Repeat("d/", 1000)+"f"))),
		imageRow("a device", bad, "--drop-special-files", archive(special(tar.TypeChar))),
		imageRow("a block device", bad, "--drop-special-files", archive(special(tar.TypeBlock))),
		imageRow("a fifo", bad, "--drop-special-files", archive(special(tar.TypeFifo))),
		imageRow("a hard link to nowhere", bad, "", archive(link(tar.TypeLink, "usr/l", "usr/nowhere"))),
		imageRow("a hard link to itself", bad, "", archive(link(tar.TypeLink, "usr/l", "usr/l"))),
		imageRow("hard links in a ring", bad, "", archive(link(tar.TypeLink, "usr/a", "usr/b"), link(tar.TypeLink, "usr/b", "usr/a"))),
		imageRow("a hard link to a directory", bad, "", archive(dir("usr/d"), link(tar.TypeLink, "usr/l", "usr/d"))),
		imageRow("a hard link out of the image", bad, "", archive(link(tar.TypeLink, "usr/l", "../../etc/shadow"))),
		imageRow("a hard link to the host's file", bad, "", archive(link(tar.TypeLink, "usr/l", "/etc/shadow"))),
		imageRow("a hard link through a symbolic link out", bad, "", archive(link(tar.TypeSymlink, "usr/up", "../../../../.."), link(tar.TypeLink, "usr/l", "usr/up/etc/shadow"))),
		imageRow("a symbolic link out of the image", "", "", archive(link(tar.TypeSymlink, "usr/l", "../../../../../etc/shadow"))),
		imageRow("an entry through a symbolic link out", "", "", archive(link(tar.TypeSymlink, "usr/up", "../../../.."), file("usr/up/usr/f"))),
		imageRow("an entry through a ring of symbolic links", "UnsupportedImage", "", archive(link(tar.TypeSymlink, "usr/a", "b"), link(tar.TypeSymlink, "usr/b", "a"), file("usr/a/f"))),
		imageRow("a symbolic link without a target", bad, "", archive(link(tar.TypeSymlink, "usr/l", ""))),
		imageRow("a symbolic link with a target of 5,000 bytes", bad, "", archive(link(tar.TypeSymlink, "usr/l", strings.Repeat("t/", 2500)))),
		imageRow("a symbolic link with NUL in its target", bad, "", paxed(record("linkpath", "a\x00b"))),
		imageRow("a file below a file", "", "", archive(file("usr/f"), file("usr/f/g"))),
		imageRow("a directory over a file over a directory", "", "", archive(file("usr/a/b"), file("usr/a"), file("usr/a/c"))),
		imageRow("a whiteout of nothing", bad, "", archive(file("usr/.wh."))),
		imageRow("a whiteout of .", bad, "", archive(file("usr/.wh.."))),
		imageRow("a whiteout of ..", bad, "", archive(file("usr/.wh..."))),
		imageRow("a whiteout of a whiteout", "", "", archive(file("usr/.wh..wh.f"))),
		imageRow("a whiteout as a directory", "UnsupportedImage", "", archive(dir("usr/.wh.d"), file("usr/.wh.d/f"))),
		imageRow("a whiteout that is a symbolic link", "", "", archive(link(tar.TypeSymlink, "usr/.wh.l", "../../x"))),
		imageRow("a whiteout of what is not there", "", "", archive(file("usr/.wh.nothing"))),
		imageRow("a whiteout of everything", "", "", archive(file("usr/f")), archive(file(".wh.usr"))),
		imageRow("an opaque root", "", "", archive(file("usr/f")), archive(file(".wh..wh..opq"))),
		imageRow("objects of a repository", "", "", archive(file("sysroot/ostree/repo/objects/aa/"+strings.Repeat("b", 62)+".commit"))),
		imageRow("what looks like the repository's ref", "", "", archive(file("sysroot/ostree/repo/refs/heads/ostree/container/image/x"))),
		imageRow("an SELinux policy that is none", "", "", archive(file("usr/etc/selinux/config"), entry{Header: tar.Header{Name: "usr/etc/selinux/targeted/contexts/files/file_contexts", Mode: 0o644}, content: "/.*(((((((( x\n"})),
		imageRow("an SELinux policy with expressions that backtrack", "", "", selinuxBomb()),
		imageRow("a prepare-root.conf that is none", "", "", archive(entry{Header: tar.Header{Name: "usr/lib/ostree/prepare-root.conf", Mode: 0o644}, content: strings.Repeat("[", 100_000)})),
	}
	return append(rows, longRows()...)
}

// selinuxBomb has a policy whose expressions take exponential time with a matcher that backtracks.
func selinuxBomb() []byte {
	policy := "/usr/(a+)+b -- system_u:object_r:usr_t:s0\n/usr/((a|a)*)*(?=b)c -- system_u:object_r:usr_t:s0\n"
	return archive(
		entry{Header: tar.Header{Name: "usr/etc/selinux/config", Mode: 0o644}, content: "SELINUX=enforcing\nSELINUXTYPE=targeted\n"},
		entry{Header: tar.Header{Name: "usr/etc/selinux/targeted/contexts/files/file_contexts", Mode: 0o644}, content: policy},
		entry{Header: tar.Header{Name: "usr/etc/selinux/targeted/policy/policy.33", Mode: 0o644}, content: "policy"},
		file("usr/"+strings.Repeat("a", 200)))
}

// longRows are small images that could keep a daemon busy for long, or fill its memory or disk.
func longRows() []row {
	within := func(r row, limit time.Duration) row {
		r.limit = limit
		return r
	}
	packed := func(name, want string, layers ...[]byte) row {
		spec := ociimage.Spec{}
		for _, l := range layers {
			spec.Layers = append(spec.Layers, ociimage.Layer{Tar: l, Compression: ociimage.Zstd})
		}
		return within(specRow(name, want, "", spec), 60*time.Second)
	}
	return []row{
		packed("39 symbolic links of 2,000 components", "", symlinkChain(39, 2000, 500)),
		packed("100 symbolic links in a chain", "UnsupportedImage", symlinkChain(100, 2, 100)),
		packed("30,000 directories", "", numbered(30_000, dir, "usr/d%d")),
		packed("directories in directories, 300 deep, 100 times", "", numbered(100, file, "usr/%d/"+strings.Repeat("d/", 300)+"f")),
		packed("20,000 hard links to one file", "", hardLinks(20_000)),
		packed("20,000 hard links in a chain", "", hardLinkChain(20_000)),
		packed("the same path 50,000 times", "", numbered(50_000, file, "usr/same%.0d")),
		packed("50,000 whiteouts of nothing", "", numbered(50_000, file, "usr/.wh.f%d")),
		packed("60 layers that all replace the same", "", layersOf(60)...),
		packed("a hole of 600 MiB", "", sparse(fmt.Sprint(600<<20), "0\n")),
	}
}

// symlinkChain has links, each with a target of many components, the last of which is the next
// link, and entries that go through all of them.
func symlinkChain(links, components, entries int) []byte {
	made := []entry{dir("usr/end")}
	for i := range links {
		next := fmt.Sprintf("l%d", i+1)
		if i == links-1 {
			next = "end"
		}
		made = append(made, link(tar.TypeSymlink, fmt.Sprintf("usr/l%d", i), strings.Repeat("./", components-1)+next))
	}
	for i := range entries {
		made = append(made, file(fmt.Sprintf("usr/l0/f%d", i)))
	}
	return archive(made...)
}

// numbered has n entries whose names differ by their number.
func numbered(n int, kind func(string) entry, format string) []byte {
	made := make([]entry, n)
	for i := range made {
		made[i] = kind(fmt.Sprintf(format, i))
	}
	return archive(made...)
}

func hardLinks(n int) []byte {
	made := []entry{file("usr/f")}
	for i := range n {
		made = append(made, link(tar.TypeLink, fmt.Sprintf("usr/l%d", i), "usr/f"))
	}
	return archive(made...)
}

func hardLinkChain(n int) []byte {
	made := []entry{file("usr/l0")}
	for i := range n {
		made = append(made, link(tar.TypeLink, fmt.Sprintf("usr/l%d", i+1), fmt.Sprintf("usr/l%d", i)))
	}
	return archive(made...)
}

func layersOf(n int) [][]byte {
	layers := make([][]byte, n)
	for i := range layers {
		layers[i] = archive(entry{Header: tar.Header{Name: "usr/f", Mode: 0o644}, content: fmt.Sprint(i)}, file("usr/.wh.g"))
	}
	return layers
}
