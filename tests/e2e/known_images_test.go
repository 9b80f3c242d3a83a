package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// layerOf makes a layer of lines: a path that ends in a slash is a directory, PATH=CONTENT a file,
// PATH->TARGET a symbolic link, PATH<-TARGET a hard link, and any other path an empty file.
func layerOf(lines ...string) ocimodel.Layer {
	var l ocimodel.Layer
	for _, line := range lines {
		e := ocimodel.Entry{Path: line, Type: ocimodel.File, Mode: 0o644}
		if path, target, ok := strings.Cut(line, "->"); ok {
			e = ocimodel.Entry{Path: path, Type: ocimodel.Symlink, Mode: 0o777, Link: target}
		} else if path, target, ok := strings.Cut(line, "<-"); ok {
			e = ocimodel.Entry{Path: path, Type: ocimodel.HardLink, Mode: 0o644, Link: target}
		} else if path, content, ok := strings.Cut(line, "="); ok {
			e.Path, e.Content = path, []byte(content)
		} else if path, ok := strings.CutSuffix(line, "/"); ok {
			e = ocimodel.Entry{Path: path, Type: ocimodel.Dir, Mode: 0o755}
		}
		l.Entries = append(l.Entries, e)
	}
	return l
}

// TestKnownImages imports images that went wrong, and siblings of them. What is right here is what
// umoci and podman make of them, after the path rules.
func TestKnownImages(t *testing.T) {
	long := strings.Repeat("n", 253)
	images := []struct {
		name   string
		layers [][]string
		want   []string // non-directories below usr, share and etc; of a file with its content
	}{
		{"usr/etc is removed", [][]string{{"usr/", "etc/passwd=1", "etc/ssh/sshd_config=1"}, {"usr/etc/conf=2"}, {"etc/conf=3", "usr/.wh.etc"}},
			[]string{"usr/etc/conf=3", "usr/etc/passwd=1", "usr/etc/ssh/sshd_config=1"}},
		{"etc is removed", [][]string{{"usr/", "etc/a=1"}, {"usr/etc/b=2"}, {".wh.etc"}}, []string{"usr/etc/b=2"}},
		{"whiteouts in usr/etc", [][]string{{"usr/", "etc/a=1", "usr/etc/b=1", "usr/etc/a=1"}, {"usr/etc/.wh.a", "usr/etc/.wh.b"}}, []string{"usr/etc/a=1"}},
		{"whiteouts in etc", [][]string{{"usr/", "etc/a=1", "usr/etc/b=2", "usr/etc/a=2"}, {"etc/.wh.a", "etc/.wh.b"}}, []string{"usr/etc/a=2", "usr/etc/b=2"}},
		{"an opaque usr/etc", [][]string{{"usr/", "etc/a=1", "usr/etc/b=1"}, {"usr/etc/.wh..wh..opq", "usr/etc/c=2"}}, []string{"usr/etc/a=1", "usr/etc/c=2"}},
		{"an opaque etc", [][]string{{"usr/", "etc/a=1", "usr/etc/b=1"}, {"etc/.wh..wh..opq", "etc/c=2"}}, []string{"usr/etc/b=1", "usr/etc/c=2"}},
		{"etc covers usr/etc in whatever order", [][]string{{"usr/", "etc/a=1"}, {"usr/etc/a=2"}}, []string{"usr/etc/a=1"}},
		{"etc links to usr/etc", [][]string{{"usr/", "usr/etc/passwd=1", "etc->usr/etc"}, {"etc/group=2"}}, []string{"usr/etc/group=2", "usr/etc/passwd=1"}},
		{"etc links to usr/etc from the root", [][]string{{"usr/", "usr/etc/passwd=1", "etc->/usr/./lib/../etc"}, {"etc/group=2", "etc/.wh.passwd"}}, []string{"usr/etc/group=2"}},
		{"etc becomes a link later", [][]string{{"usr/", "usr/etc/a=1", "etc/b=1"}, {".wh.etc", "etc->usr/etc"}, {"etc/c=2"}}, []string{"usr/etc/a=1", "usr/etc/c=2"}},
		{"up through a link below", [][]string{{"usr/", "usr/lib/", "usr/share/x=1", "lib->usr/lib"}, {"share2->lib/../share", "share2/doc=2"}}, []string{"usr/share/doc=2", "usr/share/x=1"}},
		{"up through two links below", [][]string{{"usr/", "usr/a/b/", "l->usr/a", "m->l/b"}, {"s->m/../../lib", "s/deep/doc=2", "usr/h<-s/deep/doc"}}, []string{"usr/h=2", "usr/lib/deep/doc=2"}},
		{"a hard link to a lower layer", [][]string{{"usr/", "usr/bin/a=1"}, {"usr/bin/b<-usr/bin/a"}}, []string{"usr/bin/a=1", "usr/bin/b=1"}},
		{"a hard link to what the layer removes", [][]string{{"usr/", "usr/a=1"}, {"usr/b<-usr/a", "usr/.wh.a"}}, []string{"usr/b=1"}},
		{"a hard link to what the layer replaces later", [][]string{{"usr/", "usr/a=1"}, {"usr/b<-usr/a", "usr/a=2"}}, []string{"usr/a=2", "usr/b=1"}},
		{"hard links to hard links", [][]string{{"usr/", "usr/a=1", "usr/b=0"}, {"usr/b<-usr/a", "usr/c<-usr/b"}, {"usr/d<-usr/c"}}, []string{"usr/a=1", "usr/b=1", "usr/c=1", "usr/d=1"}},
		{"a hard link through a link below", [][]string{{"usr/", "usr/lib/a=1", "lib->usr/lib"}, {"usr/b<-lib/a"}}, []string{"usr/b=1", "usr/lib/a=1"}},
		{"a hard link from etc to usr/etc", [][]string{{"usr/", "usr/etc/a=1"}, {"etc/b<-usr/etc/a"}}, []string{"usr/etc/a=1", "usr/etc/b=1"}},
		{"long names are removed", [][]string{{"usr/", "usr/" + long + "=1", "etc/" + long + "=1", "usr/etc/" + long + "=2"}, {"usr/.wh." + long, "etc/.wh." + long}}, []string{"usr/etc/" + long + "=2"}},
	}
	for _, mode := range fixture.Modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := fixture.NewRepo(t, mode)
			fixture.NoSync(t, repo)
			for i, image := range images {
				t.Run(image.name, func(t *testing.T) {
					var img ocimodel.Image
					for _, lines := range image.layers {
						img.Layers = append(img.Layers, layerOf(lines...))
					}
					commit, err := importInProcess(t, repo, buildRandom(t, img, uint64(i)), "docker://known.invalid/"+strings.ReplaceAll(strings.ReplaceAll(image.name, " ", "-"), "/", "-"))
					if err != nil {
						t.Fatal(err)
					}
					if got := contentsOf(t, repo, commit); !slices.Equal(got, image.want) {
						t.Errorf("got  %q\nwant %q", got, image.want)
					}
				})
			}
			fixture.Fsck(t, repo)
		})
	}
}

// contentsOf lists the files of a commit below usr, share and etc.
func contentsOf(t *testing.T, repo *ostreerepo.Repo, commit string) []string {
	t.Helper()
	nodes, err := fixture.ReadCommit(repo, commit)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, path := range ocimodel.Paths(nodes) {
		top, _, _ := strings.Cut(path, "/")
		if n := nodes[path]; n.Type == ocimodel.File && slices.Contains([]string{"usr", "share", "etc"}, top) {
			files = append(files, path+"="+string(n.Content))
		}
	}
	return files
}
