package base_test

import (
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/base"
	"github.com/ostree-importd/ostree-importd/importer/selinux"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

const (
	maxConfig = 64 << 10

	libConf = "usr/lib/ostree/prepare-root.conf"
	etcConf = "etc/ostree/prepare-root.conf"
)

func newRepo(t *testing.T, mode ostreerepo.Mode) *ostreerepo.Repo {
	t.Helper()
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(t.Context(), filepath.Join(t.TempDir(), "repo"), mode, ostreerepo.Options{})
	if err != nil {
		t.Fatalf("%v (on Debian: apt install ostree)", err)
	}
	return repo
}

// commit makes a commit of files, by path; one whose content begins with "-> " is a symbolic link,
// and one whose path ends with a slash a directory.
func commit(t *testing.T, repo *ostreerepo.Repo, files map[string]string) objects.Checksum {
	t.Helper()
	dir := t.TempDir()
	for _, path := range slices.Sorted(maps.Keys(files)) {
		content, file := files[path], filepath.Join(dir, path)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = errors.Join(err, os.Symlink(target, file))
		} else if strings.HasSuffix(path, "/") {
			err = errors.Join(err, os.MkdirAll(file, 0o755))
		} else {
			err = errors.Join(err, os.WriteFile(file, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(needs.Tool(t, "ostree"), "--repo="+repo.Path(), "commit", "--branch=base", "--tree=dir="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	c, err := objects.ParseChecksum(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestOnlyUsr(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  bool // OnlyUsr
	}{
		{"no configuration", map[string]string{"usr/bin/sh": "x"}, true},
		{"an empty one", map[string]string{libConf: ""}, true},
		{"transient root", map[string]string{libConf: "[root]\ntransient=true\n"}, false},
		{"transient root, as a number", map[string]string{libConf: "[root]\ntransient = 1"}, false},
		{"no transient root", map[string]string{libConf: "[root]\ntransient=false\n"}, true},
		{"transient etc only", map[string]string{libConf: "[etc]\ntransient=true\n"}, true},
		{"composefs yes", map[string]string{libConf: "[composefs]\nenabled=yes\n"}, false},
		{"composefs true", map[string]string{libConf: "# comment\n\n[sysroot]\nreadonly=true\n[composefs]\nenabled = true \n"}, false},
		{"composefs 1", map[string]string{libConf: "[composefs]\nenabled=1\n"}, false},
		{"composefs maybe", map[string]string{libConf: "[composefs]\nenabled=maybe\n"}, false},
		{"composefs signed", map[string]string{libConf: "[composefs]\nenabled=signed\nkeypath=/etc/key\n"}, false},
		{"composefs verity", map[string]string{libConf: "[composefs]\nenabled=verity\n"}, false},
		{"composefs no", map[string]string{libConf: "[composefs]\nenabled=no\n"}, true},
		{"composefs false", map[string]string{libConf: "[composefs]\nenabled=false\n"}, true},
		{"composefs 0", map[string]string{libConf: "[composefs]\nenabled=0\n"}, true},
		{"composefs without enabled", map[string]string{libConf: "[composefs]\nkeypath=x\n"}, true},
		{"transient root without composefs", map[string]string{libConf: "[composefs]\nenabled=no\n[root]\ntransient=true\n"}, false},
		{"commented out", map[string]string{libConf: "[composefs]\n#enabled=yes\n"}, true},
		{"etc comes first", map[string]string{libConf: "[composefs]\nenabled=yes\n", etcConf: "[composefs]\nenabled=no\n"}, true},
		{"etc alone", map[string]string{etcConf: "[composefs]\nenabled=yes\n"}, false},
		{"usr/etc is not looked at", map[string]string{"usr/etc/ostree/prepare-root.conf": "[composefs]\nenabled=yes\n"}, true},
		{"as large as it may be", map[string]string{libConf: "[root]\ntransient=true\n#" + strings.Repeat("x", maxConfig-24)}, false},
	}
	repo := newRepo(t, ostreerepo.ModeArchive)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := commit(t, repo, tt.files)
			b, err := base.Read(t.Context(), repo, c)
			if err != nil {
				t.Fatal(err)
			}
			if b.OnlyUsr != tt.want {
				t.Errorf("OnlyUsr = %t", b.OnlyUsr)
			}
			if b.Commit != c || objects.ChecksumOf(b.Object.Marshal()) != c {
				t.Errorf("commit %s %+v, want %s", b.Commit, b.Object, c)
			}
		})
	}
}

func TestBadConfigurations(t *testing.T) {
	tests := []struct {
		name  string
		files map[string]string
		want  []string // in the error
	}{
		{"composefs", map[string]string{libConf: "[composefs]\nenabled=perhaps\n"}, []string{libConf, "[composefs] enabled", `"perhaps"`}},
		{"composefs, in etc", map[string]string{etcConf: "[composefs]\nenabled=Yes\n", libConf: ""}, []string{": " + etcConf, "[composefs] enabled", `"Yes"`}},
		{"composefs without value", map[string]string{libConf: "[composefs]\nenabled=\n"}, []string{libConf, "[composefs] enabled", `""`}},
		{"transient", map[string]string{libConf: "[root]\ntransient=yes\n"}, []string{libConf, "[root] transient", `"yes"`}},
		{"both", map[string]string{libConf: "[root]\ntransient=true\n[composefs]\nenabled=x\n"}, []string{libConf, "[composefs] enabled", `"x"`}},
		{"a long value", map[string]string{libConf: "[root]\ntransient=" + strings.Repeat("x", 1000)}, []string{"[root] transient", strings.Repeat("x", 100) + `"`}},
		{"too large", map[string]string{libConf: strings.Repeat("\n", maxConfig+1)}, []string{libConf, "65536"}},
		{"a directory", map[string]string{libConf + "/": ""}, []string{libConf, "directory"}},
		{"a symbolic link", map[string]string{libConf: "-> other.conf"}, []string{libConf, "symbolic link"}},
	}
	repo := newRepo(t, ostreerepo.ModeBareUser)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := commit(t, repo, tt.files)
			_, err := base.Read(t.Context(), repo, c)
			if err == nil || !strings.Contains(err.Error(), c.String()) || len(err.Error()) > 500 {
				t.Fatalf("error %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %v, want one with %s", err, want)
				}
			}
		})
	}
}

// policy is a small SELinux policy in usr/etc.
var policy = map[string]string{
	"usr/etc/selinux/config":                             "SELINUX=permissive\nSELINUXTYPE=small\n",
	"usr/etc/selinux/small/contexts/files/file_contexts": "/.* system_u:object_r:default_t:s0\n/usr(/.*)? system_u:object_r:usr_t:s0\n",
	"usr/etc/selinux/small/policy/policy.33":             "x",
}

func TestPolicy(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeArchive)
	b, err := base.Read(t.Context(), repo, commit(t, repo, policy))
	if err != nil {
		t.Fatal(err)
	}
	if b.Policy.ID() == "" {
		t.Fatal("no policy")
	}
	if label, ok := b.Policy.Label("/usr/bin/sh", 0o100755); !ok || label != "system_u:object_r:usr_t:s0" {
		t.Errorf("label %q", label)
	}
	disabled := maps.Clone(policy)
	disabled["usr/etc/selinux/config"] = "SELINUX=disabled\nSELINUXTYPE=small\n"
	if b, err := base.Read(t.Context(), repo, commit(t, repo, disabled)); err != nil || b.Policy != nil {
		t.Errorf("a disabled policy: %v, %v", b, err)
	}
	broken := maps.Clone(policy)
	delete(broken, "usr/etc/selinux/small/policy/policy.33")
	if _, err := base.Read(t.Context(), repo, commit(t, repo, broken)); !errors.Is(err, selinux.ErrUnusable) {
		t.Errorf("a policy that is not whole: %v", err)
	}
}

func TestMissingObjects(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	if _, err := base.Read(t.Context(), repo, objects.Checksum{1}); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("no commit: %v", err)
	}
	c := commit(t, repo, map[string]string{libConf: "[root]\ntransient=true\n"})
	object, err := repo.Commit(c)
	if err != nil {
		t.Fatal(err)
	}
	found, err := ostreerepo.Lookup(repo, object.Tree, libConf)
	if err != nil {
		t.Fatal(err)
	}
	name := found.File.String()
	if err := os.Remove(filepath.Join(repo.Path(), "objects", name[:2], name[2:]+".file")); err != nil {
		t.Fatal(err)
	}
	if _, err := base.Read(t.Context(), repo, c); !errors.Is(err, ostreerepo.ErrNoObject) || !strings.Contains(err.Error(), libConf) {
		t.Errorf("no file: %v", err)
	}
}
