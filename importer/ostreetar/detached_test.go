package ostreetar

import (
	"path/filepath"
	"testing"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// TestDetachedOfOthers: a layer that nobody vouches for can't change what is known of a commit that
// is here, and none can speak for an importer.
func TestDetachedOfOthers(t *testing.T) {
	for _, keep := range []bool{false, true} {
		needs.Tool(t, "ostree")
		repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), ostreerepo.ModeBareUser, ostreerepo.Options{})
		if err != nil {
			t.Fatal(err)
		}
		st, err := repo.NewStaging()
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		tree, err := st.WriteDirTree(objects.DirTree{})
		if err != nil {
			t.Fatal(err)
		}
		meta, err := st.WriteDirMeta(objects.DirMeta{Mode: 0o040755})
		if err != nil {
			t.Fatal(err)
		}
		c, err := st.WriteCommit(objects.Commit{Tree: tree, Meta: meta})
		if err != nil {
			t.Fatal(err)
		}
		if err := st.WriteDetached(c, objects.Dict{"signature": objects.String("ours"), "ostree-importd.signature-text": objects.String("ours")}); err != nil {
			t.Fatal(err)
		}
		brought := objects.Dict{
			"signature": objects.String("theirs"), "more": objects.String("theirs"),
			"ostree-importd.signature-text": objects.String("theirs"), "ostree-ext.cached.manifest": objects.String("theirs"),
		}
		if err := writeDetached(st, c, brought, keep); err != nil {
			t.Fatal(err)
		}
		got, err := st.Detached(c)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"signature": "theirs", "more": "theirs", "ostree-importd.signature-text": "ours"}
		if keep {
			want["signature"] = "ours"
		}
		if len(got) != len(want) {
			t.Errorf("keep %v: %v", keep, got)
		}
		for key, value := range want {
			if text, _ := got[key].AsString(); text != value {
				t.Errorf("keep %v: %s is %q, want %q", keep, key, text, value)
			}
		}
	}
}
