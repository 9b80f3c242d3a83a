package encapsulate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-importd/ostree-importd/importer/encapsulate"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb"
	"github.com/ostree-importd/ostree-importd/importer/encapsulate/rpmdb/child"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// large is content that makes a package one with a chunk of its own.
func large(name string) string { return strings.Repeat(name+" ", 1<<18) }

// chunks gives what each chunk holds, by the annotation of its layer.
func chunks(t testing.TB, dir string, r encapsulate.Result) []string {
	t.Helper()
	m, _ := documents(t, dir, r)
	var all []string
	for _, l := range m.Layers[1:] {
		all = append(all, l.Annotations["ostree.components"])
	}
	return all
}

// places gives the paths in the image's file system that a layer has.
func places(t testing.TB, dir string, l encapsulate.Layer) (paths []string) {
	t.Helper()
	for _, line := range entries(t, uncompressed(t, dir, l)) {
		name := strings.Fields(line)[4]
		if line[0] != '5' && !strings.HasPrefix(name, "sysroot/") {
			paths = append(paths, name)
		}
	}
	slices.Sort(paths)
	return paths
}

// debianFiles is a system of some packages with files at paths that dpkg knows by other names.
func debianFiles(info string) map[string]node {
	list := func(paths ...string) node { return node{content: "/.\n" + strings.Join(paths, "\n") + "\n"} }
	return map[string]node{
		info + "bash.list":        list("/bin", "/bin/bash", "/etc", "/etc/bash.bashrc", "/usr/share/doc/bash"),
		info + "libc6:amd64.list": list("/lib/libc.so.6", "/lib64", "/lib64/ld.so", "/usr/share/shared"),
		info + "zlib.list":        list("/usr/share/shared", "/nowhere", "", "relative/../usr/bin/zlib"),
		info + "doc.list":         list("/var/run/doc", "/loop/a", "/bin/bash/x", strings.Repeat("/loop/", 5000)+"x"),
		info + "bash.md5sums":     {content: "not a list"},
		"bin":                     {target: "usr/bin"},
		"lib":                     {target: "/usr/lib"},
		"lib64":                   {target: "lib/../usr/lib64"},
		"loop":                    {target: "./loop/loop"},
		"var/run":                 {target: "../run"},
		"run/doc":                 {content: "doc"},
		"usr/bin/bash":            {content: large("bash")},
		"usr/etc/bash.bashrc":     {content: "rc"},
		"usr/lib/libc.so.6":       {content: large("libc")},
		"usr/lib64/ld.so":         {content: "ld.so"},
		"usr/share/shared":        {content: "shared"},
		"usr/bin/zlib":            {content: "zlib"},
		"usr/lib/modules/1/linux": {content: "kernel"},
		"usr/made":                {content: "made by nobody"},
	}
}

// TestDpkg parts by the packages of dpkg, wherever its database is.
func TestDpkg(t *testing.T) {
	for _, info := range []string{"var/lib/dpkg/info/", "usr/lib/sysimage/dpkg/info/", "usr/lib/dpkg-db/info/"} {
		t.Run(info, func(t *testing.T) {
			repo, c := commitFiles(t, ostreerepo.ModeArchive, debianFiles(info))
			dir := t.TempDir() + "/layout"
			r := write(t, repo, c, dir, encapsulate.Options{})
			want := []string{"bash", "kernel", "libc6", "doc,unpackaged-content,zlib", ""}
			if r.Chunking != encapsulate.ChunkingDpkg || r.Note != "" || !slices.Equal(chunks(t, dir, r), want) {
				t.Errorf("by %s (%s): %q", r.Chunking, r.Note, chunks(t, dir, r))
			}
			for i, want := range [][]string{
				nil, {"bin", "etc/bash.bashrc", "usr/bin/bash"}, {"usr/lib/modules/1/linux"}, {"lib64", "usr/lib/libc.so.6", "usr/lib64/ld.so", "usr/share/shared"},
			} {
				if got := places(t, dir, r.Layers[i]); !slices.Equal(got, want) {
					t.Errorf("layer %d has %q", i, got)
				}
			}
			unencapsulate(t, dir, r, ostreerepo.ModeBareUser)
		})
	}
}

// TestPrior wants the chunks of an earlier image kept, and only one changed.
func TestPrior(t *testing.T) {
	files := debianFiles("var/lib/dpkg/info/")
	repo, c := commitFiles(t, ostreerepo.ModeArchive, files)
	dir := t.TempDir()
	first := write(t, repo, c, dir+"/first", encapsulate.Options{MaxLayers: 3})
	prior, _ := documents(t, dir+"/first", first)

	files["usr/bin/zlib"] = node{content: "another"}
	repo, c = commitFiles(t, ostreerepo.ModeArchive, files)
	second := write(t, repo, c, dir+"/second", encapsulate.Options{Prior: &prior})
	if got, want := chunks(t, dir+"/second", second), append(chunks(t, dir+"/first", first), ""); !slices.Equal(got, want) || len(got) != 3 {
		t.Errorf("%q instead of %q", got, want)
	}
	for i, l := range second.Layers[:len(first.Layers)] {
		same := l.DiffID == first.Layers[i].DiffID
		if holds := slices.Contains(l.Components, "zlib"); i > 0 && same == holds {
			t.Errorf("layer %d with %q is the same: %v", i, l.Components, same)
		}
	}
}

// TestThisSystem parts some packages of the host, which is a Debian, as dpkg knows them.
func TestThisSystem(t *testing.T) {
	files := make(map[string]node)
	for _, pkg := range []string{"bash", "coreutils", "dpkg", "tar", "base-files", "hostname"} {
		list := run(t, "dpkg-query", "--listfiles", pkg)
		files["usr/lib/sysimage/dpkg/info/"+pkg+".list"] = node{content: list}
		for name := range strings.Lines(list) {
			name = strings.TrimSpace(name)
			info, err := os.Lstat(name)
			if errors.Is(err, fs.ErrNotExist) { // left out of an image of Debian, as documentation often is
				continue
			}
			check(t, err)
			if real, err := filepath.EvalSymlinks(filepath.Dir(name)); err == nil {
				name = filepath.Join(real, filepath.Base(name))
			}
			at := strings.TrimPrefix(name, "/")
			if strings.HasPrefix(at, "etc/") {
				at = "usr/" + at
			}
			switch {
			case info.Mode().IsRegular():
				content, err := os.ReadFile(name)
				check(t, err)
				files[at] = node{content: string(content), mode: uint32(info.Mode().Perm())}
			case info.Mode()&fs.ModeSymlink != 0:
				target, err := os.Readlink(name)
				check(t, err)
				files[at] = node{target: target}
			}
		}
	}
	for _, dir := range []string{"bin", "sbin", "lib"} {
		files[dir] = node{target: "usr/" + dir}
	}
	repo, c := commitFiles(t, ostreerepo.ModeBareUser, files)
	dir := t.TempDir() + "/layout"
	r := write(t, repo, c, dir, encapsulate.Options{})
	if r.Chunking != encapsulate.ChunkingDpkg {
		t.Errorf("by %s", r.Chunking)
	}
	got := make(map[string]bool)
	for i, l := range r.Layers[1:] {
		for _, name := range l.Components {
			got[name] = true
		}
		if slices.Equal(l.Components, []string{"bash"}) != slices.Contains(places(t, dir, l), "usr/bin/bash") {
			t.Errorf("layer %d: %q: %q", i+1, l.Components, places(t, dir, l))
		}
	}
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, []string{"base-files", "bash", "coreutils", "dpkg", "hostname", "tar", "unpackaged-content"}) {
		t.Errorf("%q", names)
	}
	unencapsulate(t, dir, r, ostreerepo.ModeArchive)
}

// TestMain lets this program be the child that reads databases.
func TestMain(m *testing.M) {
	child.Run()
	os.Exit(m.Run())
}

// unprivileged reads databases as another user.
func unprivileged() *rpmdb.Reader {
	return &rpmdb.Reader{User: &command.User{UID: 65534, GID: 65534}}
}

// rpmSpec is that of a package with files, and with changes of yesterday and one of long ago.
func rpmSpec(name string, changes int, files map[string]string) string {
	var install, list, changelog strings.Builder
	for _, path := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&install, "mkdir -p %%{buildroot}%s && cp %s %%{buildroot}%s\n", filepath.Dir(path), files[path], path)
		fmt.Fprintln(&list, path)
	}
	for range changes {
		yesterday := time.Now().UTC().Add(-24 * time.Hour).Format("Mon Jan 02 2006")
		fmt.Fprintf(&changelog, "* %s Test <test@example.com> - 1-1\n- change\n", yesterday)
	}
	changelog.WriteString("* Sat Jan 01 2022 Test <test@example.com> - 1-1\n- long ago\n")
	return fmt.Sprintf("Name: %s\nVersion: 1\nRelease: 1\nSummary: test\nLicense: none\nBuildArch: noarch\n"+
		"%%description\ntest\n%%install\n%s%%files\n%s%%changelog\n%s", name, &install, &list, &changelog)
}

// rpmDatabase builds packages of files and gives the files of a database in which they are
// installed.
func rpmDatabase(t testing.TB, packages map[string]map[string]string, changes map[string]int) map[string]string {
	t.Helper()
	dir := t.TempDir()
	run(t, "rpm", "--dbpath", dir+"/db", "--initdb")
	for name, files := range packages {
		sources := make(map[string]string)
		for path, content := range files {
			source := filepath.Join(dir, name+strings.ReplaceAll(path, "/", "_"))
			check(t, os.WriteFile(source, []byte(content), 0o644))
			sources[path] = source
		}
		spec := dir + "/" + name + ".spec"
		check(t, os.WriteFile(spec, []byte(rpmSpec(name, changes[name], sources)), 0o644))
		run(t, "env", "HOME="+dir, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+dir+"/build", spec)
		run(t, "rpm", "--dbpath", dir+"/db", "--install", "--justdb", "--nodeps", "--nosignature", fmt.Sprintf("%s/build/RPMS/noarch/%s-1-1.noarch.rpm", dir, name))
	}
	database := make(map[string]string)
	entries, err := os.ReadDir(dir + "/db")
	check(t, err)
	for _, entry := range entries {
		content, err := os.ReadFile(dir + "/db/" + entry.Name())
		check(t, err)
		database[entry.Name()] = string(content)
	}
	return database
}

// rpmFiles is a system of some packages with a database at a place.
func rpmFiles(t testing.TB, at string) map[string]node {
	t.Helper()
	packages := map[string]map[string]string{
		"bash":   {"/usr/bin/bash": large("bash"), "/etc/bashrc": "rc"},
		"often":  {"/usr/share/often": strings.Repeat("often", 60_000)},
		"seldom": {"/usr/share/seldom": strings.Repeat("seldom", 60_000)},
		"zsh":    {"/bin/zsh": "zsh"},
	}
	files := map[string]node{"bin": {target: "usr/bin"}, "usr/made": {content: "made by nobody"}}
	for name, content := range rpmDatabase(t, packages, map[string]int{"often": 7, "zsh": 3}) {
		files[at+name] = node{content: content}
	}
	for _, contents := range packages {
		for name, content := range contents {
			name = strings.TrimPrefix(strings.Replace(strings.Replace(name, "/etc/", "/usr/etc/", 1), "/bin/zsh", "/usr/bin/zsh", 1), "/")
			name = strings.Replace(name, "usr/usr/", "usr/", 1)
			files[name] = node{content: content}
		}
	}
	return files
}

// TestRPM parts by the packages of an RPM database. One that changes often counts for more than its
// size.
func TestRPM(t *testing.T) {
	for _, at := range []string{"usr/share/rpm/", "usr/lib/sysimage/rpm/"} {
		t.Run(at, func(t *testing.T) {
			repo, c := commitFiles(t, ostreerepo.ModeBare, rpmFiles(t, at))
			dir := t.TempDir() + "/layout"
			r := write(t, repo, c, dir, encapsulate.Options{RPM: unprivileged()})
			want := []string{"bash", "often", "seldom,unpackaged-content,zsh", ""} // the last one is empty
			if r.Chunking != encapsulate.ChunkingRPM || r.Note != "" || !slices.Equal(chunks(t, dir, r), want) {
				t.Errorf("by %s (%s): %q", r.Chunking, r.Note, chunks(t, dir, r))
			}
			if got := places(t, dir, r.Layers[1]); !slices.Equal(got, []string{"etc/bashrc", "usr/bin/bash"}) {
				t.Errorf("%q", got)
			}
			unencapsulate(t, dir, r, ostreerepo.ModeArchive)
		})
	}
}

// TestRPMIsData has configuration of rpm beside the database, which must not be obeyed.
func TestRPMIsData(t *testing.T) {
	const at = "usr/share/rpm/"
	files, ran := rpmFiles(t, at), t.TempDir()+"/ran"
	check(t, os.Chmod(filepath.Dir(ran), 0o777))
	macro := "%(touch " + ran + ")"
	for name, content := range map[string]string{
		".rpmmacros":         "%_dbpath " + macro + "\n%_keyringpath " + macro + "\n",
		".rpmrc":             "macrofiles: " + filepath.Dir(ran) + "/macros\n",
		".config/rpm/macros": "%_dbpath " + macro + "\n",
		"macros":             "%_dbpath " + macro + "\n",
		".popt":              "rpm alias --query --eval '" + macro + "'\n",
		".sqliterc":          ".shell touch " + ran + "\n",
	} {
		files[at+name] = node{content: content}
	}
	repo, c := commitFiles(t, ostreerepo.ModeBare, files)
	r := write(t, repo, c, t.TempDir()+"/layout", encapsulate.Options{RPM: unprivileged()})
	if r.Chunking != encapsulate.ChunkingRPM {
		t.Errorf("by %s (%s)", r.Chunking, r.Note)
	}
	if _, err := os.Stat(ran); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file of the commit has run a command: %v", err)
	}
}

// TestNoRPM goes on without a database that can't be read, and says so.
func TestNoRPM(t *testing.T) {
	good := rpmFiles(t, "usr/share/rpm/")
	damaged := maps.Clone(good)
	damaged["usr/share/rpm/rpmdb.sqlite"] = node{content: strings.Repeat("damaged", 1000)}
	debian := maps.Clone(damaged)
	maps.Copy(debian, debianFiles("var/lib/dpkg/info/"))
	empty := maps.Clone(damaged)
	for name, content := range rpmDatabase(t, nil, nil) {
		empty["usr/share/rpm/"+name] = node{content: content}
	}
	linked := maps.Clone(good)
	linked["usr/share/rpm/rpmdb.sqlite"] = node{target: "/etc/shadow"}
	reader := unprivileged()
	for name, test := range map[string]struct {
		files map[string]node
		rpm   *rpmdb.Reader
		by    encapsulate.Chunking
		note  string
	}{
		"no reader":                 {good, nil, encapsulate.ChunkingSize, "this program has no reader for it"},
		"a damaged database":        {damaged, reader, encapsulate.ChunkingSize, "invalid or unsupported SQLite3 format"},
		"an empty database":         {empty, reader, encapsulate.ChunkingSize, "the commit has none of their files"},
		"the database of dpkg":      {debian, reader, encapsulate.ChunkingDpkg, "the packages of the commit's rpm database are not taken into account: "},
		"a link in place of a file": {linked, reader, encapsulate.ChunkingSize, "/usr/share/rpm/rpmdb.sqlite: it is a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			repo, c := commitFiles(t, ostreerepo.ModeBareUser, test.files)
			dir := t.TempDir() + "/layout"
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			r, err := tryWrite(ctx, repo, c, dir, encapsulate.Options{RPM: test.rpm})
			check(t, err)
			if r.Chunking != test.by || !strings.Contains(r.Note, test.note) || test.note == "" && r.Note != "" {
				t.Errorf("by %s: %q", r.Chunking, r.Note)
			}
			unencapsulate(t, dir, r, ostreerepo.ModeArchive)
		})
	}
}

// TestPriorIsJSON reads a prior manifest as it is stored.
func TestPriorIsJSON(t *testing.T) {
	var m ocispec.Manifest
	check(t, json.Unmarshal([]byte(`{"layers":[{"annotations":{"ostree.components":"x,/usr"}}]}`), &m))
	repo, c := commitFiles(t, ostreerepo.ModeBareUser, map[string]node{"usr/a": {content: "a"}, "usr/lib/b": {content: "b"}})
	dir := t.TempDir() + "/layout"
	r := write(t, repo, c, dir, encapsulate.Options{Prior: &m})
	if got := chunks(t, dir, r); !slices.Equal(got, []string{"/usr", "/usr/lib", ""}) {
		t.Errorf("%q", got)
	}
}
