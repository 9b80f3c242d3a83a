package merge

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/layertar"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// importLayer imports an archive of lines, each a type of package tar, a path and the target of a
// link or the content of a file.
func (r *testRepo) importLayer(st *ostreerepo.Staging, labels *selinux.Policy, lines []string) objects.Checksum {
	r.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, line := range lines {
		fields := append(strings.Fields(line), "")
		h := &tar.Header{Typeflag: line[0], Name: fields[1], Mode: 0o755, Format: tar.FormatPAX}
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(fields[2]))
		} else {
			h.Linkname = fields[2]
		}
		r.must(w.WriteHeader(h))
		if h.Typeflag == tar.TypeReg {
			_, err := w.Write([]byte(fields[2]))
			r.must(err)
		}
	}
	r.must(w.Close())
	sum := digest.FromBytes(b.Bytes())
	opts := layertar.Options{DropSpecialFiles: true}
	if labels != nil {
		opts.Labels = labels
	}
	layer := layertar.Layer{Descriptor: ocispec.Descriptor{Digest: sum, Size: int64(b.Len())}, DiffID: sum}
	commit, _, err := layertar.Import(r.Context(), st, &b, layer, opts)
	r.must(err)
	return commit
}

// TestMoreEntriesAreLabeled wants what comes from archives of more entries to have the labels of
// its places, whether it was imported with the policy or labelled by it later.
func TestMoreEntriesAreLabeled(t *testing.T) {
	layers := [][]string{
		{"5 usr", "5 usr/lib", "0 usr/lib/a 1", "0 usr/etc/own 1", "5 usr/etc/dir", "2 lib usr/lib", "0 usr/etc/both own", "0 etc/both 1"},
		{"1 usr/h usr/lib/a", "1 etc/h usr/lib/a", "2 share lib/../share", "0 share/doc 2", "5 share/dir", "2 share/l doc", "0 etc/own 2", "1 usr/lib/both etc/both"},
		{"0 etc/.wh.both", "0 usr/lib/.wh.a", "1 lib/b usr/h", "6 usr/fifo", "1 usr/fifo2 usr/fifo"},
		{"1 usr/fifo3 usr/fifo2"},
	}
	r := newTestRepo(t)
	p := r.policy()
	var want, now, later objects.Checksum
	r.stage(func(st *ostreerepo.Staging) {
		merged := func(labels *selinux.Policy, commits []objects.Checksum) Tree {
			tree, err := Merge(t.Context(), st, nil, commits, Options{Labels: labels})
			r.must(err)
			return tree
		}
		var plain, labelled []objects.Checksum
		for _, lines := range layers {
			plain = append(plain, r.importLayer(st, nil, lines))
			labelled = append(labelled, r.importLayer(st, p, lines))
		}
		tree := merged(nil, plain)
		root, _, err := selinux.Relabel(t.Context(), st, objects.TreeDir{Tree: tree.Tree, Meta: tree.Meta}, p, "/")
		r.must(err)
		want = r.write(st, objects.Commit{Tree: root.Tree, Meta: root.Meta})
		tree = merged(p, labelled)
		now = r.write(st, objects.Commit{Tree: tree.Tree, Meta: tree.Meta})
		tree = merged(p, image{layers: plain}.label(r, st, p).layers)
		later = r.write(st, objects.Commit{Tree: tree.Tree, Meta: tree.Meta})
	})
	for _, path := range []string{"/usr/h", "/usr/etc/h", "/usr/share/doc", "/usr/share/dir", "/usr/lib/b", "/usr/lib/both", "/usr/etc/both"} {
		if !strings.Contains(r.list(want), " "+path+"\n") {
			t.Errorf("%s is missing", path)
		}
	}
	for name, got := range map[string]objects.Checksum{"labelled at the import": now, "labelled later": later} {
		if got != want {
			t.Errorf("%s:\n%s\nwant:\n%s", name, r.list(got), r.list(want))
		}
	}
}
