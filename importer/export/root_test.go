package export_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/importer/dirfd"
	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/importer/scratch"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/ocimodel"
)

// What a mounted file system and an unpacked archive show is the commit: the same as its objects
// say, and as its checkout.
func TestRootIsTheCommit(t *testing.T) {
	for what, nodes := range trees() {
		for _, mode := range fixture.Modes {
			root := newRoot(t, mode, nodes)
			root.User = &command.User{UID: 65534, GID: 65534}
			checkout := filepath.Join(t.TempDir(), "checkout")
			fixture.MustRun(t, "ostree", "--repo="+root.Repo.Path(), "checkout", root.Commit.String(), checkout)
			for _, format := range rootFormats {
				t.Run(what+" "+name(format, mode), func(t *testing.T) {
					file := filepath.Join(t.TempDir(), "file")
					res := write(t, root, format, file)
					if info, err := os.Stat(file); err != nil || uint64(info.Size()) != res.Size || info.Mode() != 0o644 || info.Sys().(*syscall.Stat_t).Uid != 0 {
						t.Errorf("%v, %v; the result says %d bytes", info, err, res.Size)
					}
					if len(res.Omitted) != 0 || res.Cached {
						t.Errorf("result %+v", res)
					}
					got := readDisk(t, mount(t, format, file))
					if diff := ocimodel.Diff(nodes, got); diff != "" {
						t.Errorf("not what was committed: %s", diff)
					}
					if diff := ocimodel.Diff(readDisk(t, checkout), got); diff != "" {
						t.Errorf("not the checkout: %s", diff)
					}
					if left := fixture.Leftovers(t, root.Repo); len(left) > 0 {
						t.Errorf("left in the repository: %q", left)
					}
				})
			}
		}
	}
}

// The same commit gives the same bytes, whatever the repository's mode and the environment.
func TestRootIsReproducible(t *testing.T) {
	for what, nodes := range trees() {
		roots := []export.Root{newRoot(t, ostreerepo.ModeBare, nodes), newRoot(t, ostreerepo.ModeArchive, nodes)}
		// ostree takes the time of the commit into its checksum, from which the file systems have
		// their UUID.
		roots[1].Commit = roots[0].Commit
		for _, format := range rootFormats {
			t.Run(what+" "+string(format), func(t *testing.T) {
				dir := t.TempDir()
				var contents []string
				for i, root := range roots {
					if i > 0 {
						t.Setenv("SOURCE_DATE_EPOCH", "1000000000")
						t.Setenv("TZ", "Asia/Tokyo")
					}
					file := filepath.Join(dir, string(rune('a'+i)))
					write(t, root, format, file)
					contents = append(contents, readFile(t, file))
				}
				if contents[0] != contents[1] {
					t.Error("two files of one commit differ")
				}
			})
		}
	}
}

// Files with the same content are independent of each other.
func TestNoHardLinks(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBare, smallTree())
	for _, format := range rootFormats {
		file := filepath.Join(t.TempDir(), "file")
		write(t, root, format, file)
		dir := mount(t, format, file)
		var a, b unix.Stat_t
		must(t, unix.Stat(filepath.Join(dir, "usr/same"), &a))
		must(t, unix.Stat(filepath.Join(dir, "usr/same2"), &b))
		if a.Ino == b.Ino || a.Nlink != 1 {
			t.Errorf("%s: inodes %d and %d, %d links", format, a.Ino, b.Ino, a.Nlink)
		}
		if a.Mtim.Sec != 0 {
			t.Errorf("%s: time %d", format, a.Mtim.Sec)
		}
	}
}

// What a format can't hold is named in the result.
func TestOmittedXattrs(t *testing.T) {
	acl := "\x02\x00\x00\x00\x01\x00\x06\x00\xff\xff\xff\xff\x02\x00\x04\x00\x07\x00\x00\x00\x04\x00\x04\x00\xff\xff\xff\xff" +
		"\x10\x00\x06\x00\xff\xff\xff\xff\x20\x00\x04\x00\xff\xff\xff\xff"
	nodes := smallTree()
	nodes["usr/acl"] = ocimodel.Node{Type: ocimodel.File, Mode: 0o664, Xattrs: map[string]string{"system.posix_acl_access": acl, "user.x=y": "1"}}
	root := newRoot(t, ostreerepo.ModeBareUser, nodes)
	for format, want := range map[export.Format][]string{
		export.Tar: {"user.x=y"}, export.Squashfs: {"system.posix_acl_access", "user.x=y"}, export.EROFS: {"user.x=y"},
	} {
		t.Run(string(format), func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "file")
			if res := write(t, root, format, file); !slices.Equal(res.Omitted, want) {
				t.Errorf("omitted %q, want %q", res.Omitted, want)
			}
			dir := mount(t, format, file)
			got, err := unix.Lgetxattr(filepath.Join(dir, "usr/acl"), "system.posix_acl_access", make([]byte, 100))
			held := err == nil && got == len(acl)
			if held == slices.Contains(want, "system.posix_acl_access") {
				t.Errorf("the access control list has %d bytes, %v", got, err)
			}
			info, err := os.Stat(filepath.Join(dir, "usr/acl"))
			if mode := map[bool]os.FileMode{true: 0o664, false: 0o644}[held]; err != nil || info.Mode() != mode {
				t.Errorf("the mode is %s, want %s: %v", info.Mode(), mode, err)
			}
		})
	}
}

func TestCached(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	for _, format := range rootFormats {
		t.Run(string(format), func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "file")
			res := write(t, root, format, file)
			if res.Cached || res.ConfigFile != file+".config.json" || readFile(t, res.ConfigFile) != string(root.Config) {
				t.Errorf("result %+v", res)
			}
			first := readFile(t, file)
			before, err := os.Stat(file)
			must(t, err)
			check := func(what string, root export.Root, cached bool) {
				t.Helper()
				res := write(t, root, format, file)
				after, err := os.Stat(file)
				must(t, err)
				if res.Cached != cached || cached && !os.SameFile(before, after) || res.Size != uint64(after.Size()) {
					t.Errorf("%s: result %+v", what, res)
				}
				// An erofs has the manifest's digest in its UUID.
				sameUUID := format != export.EROFS || root.ManifestDigest == digest.FromString("a manifest")
				if content := readFile(t, file); (content == first) != sameUUID {
					t.Errorf("%s: the content is as before: %v", what, !sameUUID)
				}
				if root.Config != nil && readFile(t, res.ConfigFile) != string(root.Config) {
					t.Errorf("%s: config %q", what, readFile(t, res.ConfigFile))
				}
				before = after
			}
			check("again", root, true)
			must(t, os.WriteFile(file+".config.json", []byte("{}"), 0o644))
			check("another config is there", root, false)
			must(t, os.Remove(file+".config.json"))
			check("no config is there", root, false)
			other := root
			other.ManifestDigest = "sha256:" + root.ManifestDigest[7:8] + root.ManifestDigest[7:len(root.ManifestDigest)-1]
			check("another manifest", other, false)
			check("the first one again", root, false)
			must(t, os.WriteFile(file, []byte("damage"), 0o644))
			check("the file was written to", root, false)
			must(t, os.Chtimes(file, time.Time{}, time.Unix(1, 0)))
			check("the file was touched", root, false)
			must(t, os.Remove(file))
			must(t, os.WriteFile(file, []byte("somebody else's"), 0o600))
			check("somebody else's file", root, false)
			must(t, os.Remove(file))
			must(t, os.Symlink("/dev/null", file))
			check("a symbolic link", root, false)
			other.Config = nil
			check("no config", other, false)
			if got := files(t, dir); got != "file" {
				t.Errorf("files: %s", got)
			}
			check("no config again", other, true)
		})
	}
}

// A failure leaves what was there, and nothing else.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name    string
		formats []export.Format
		prepare func(t *testing.T, root *export.Root, dir string) // dir is that of the destination
		is      func(error) bool
		says    string
	}{
		{
			"damaged object", rootFormats,
			func(t *testing.T, root *export.Root, _ string) { damage(t, *root, "usr/a") },
			func(err error) bool { return errors.Is(err, ostreerepo.ErrCorrupted) }, "/usr/a",
		},
		{
			"damaged object, and a program that doesn't mind the end of its input", rootFormats[1:],
			func(t *testing.T, root *export.Root, _ string) {
				damage(t, *root, "usr/a")
				script := "echo -n 9.9; [[ $1 == *V || $1 == -version ]] && exit; cat >/dev/null; while :; do read -t 60 <> <(:); done"
				fakeTools(t, map[string]string{"mksquashfs": script, "sqfstar": script, "mkfs.erofs": script})
			},
			func(err error) bool { return errors.Is(err, ostreerepo.ErrCorrupted) }, "/usr/a",
		},
		{
			"no programs", rootFormats[1:],
			func(t *testing.T, _ *export.Root, _ string) { t.Setenv("PATH", t.TempDir()) },
			func(err error) bool { return errors.Is(err, export.ErrToolMissing) }, "apt install ",
		},
		{
			"a program fails", rootFormats[1:],
			func(t *testing.T, _ *export.Root, _ string) {
				script := "echo -n 9.9; [[ $1 == *V || $1 == -version ]] && exit; echo it will not do >&2; exit 7"
				fakeTools(t, map[string]string{"mksquashfs": script, "sqfstar": script, "mkfs.erofs": script})
			},
			func(err error) bool {
				var failed *command.Error
				return errors.As(err, &failed) && failed.ExitCode == 7
			}, "it will not do",
		},
		{
			"a program stops reading", rootFormats[1:],
			func(t *testing.T, root *export.Root, _ string) {
				*root = newRoot(t, ostreerepo.ModeBareUser, fixture.SampleTree())
				script := "echo -n 9.9; exit 0"
				fakeTools(t, map[string]string{"mksquashfs": script, "sqfstar": script, "mkfs.erofs": script})
			},
			func(err error) bool { return errors.Is(err, unix.EPIPE) }, "",
		},
		{
			"a full file system", rootFormats,
			func(t *testing.T, root *export.Root, dir string) {
				*root = newRoot(t, ostreerepo.ModeBareUser, fixture.SampleTree())
				must(t, os.RemoveAll(dir))
				must(t, os.Mkdir(dir, 0o755))
				fixture.MustRun(t, "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", dir)
				t.Cleanup(func() { fixture.MustRun(t, "umount", dir) })
			},
			func(err error) bool { return errors.Is(err, unix.ENOSPC) }, "",
		},
	} {
		for _, format := range test.formats {
			t.Run(test.name+" "+string(format), func(t *testing.T) {
				root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
				dir := t.TempDir()
				test.prepare(t, &root, dir)
				file := filepath.Join(dir, "file")
				must(t, os.WriteFile(file, []byte("before"), 0o644))
				_, err := export.WriteRoot(t.Context(), root, destination(format, file), nil)
				if !test.is(err) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("error %v", err)
				}
				if got := files(t, dir); got != "file" || readFile(t, file) != "before" {
					t.Errorf("files: %s", got)
				}
				if left := fixture.Leftovers(t, root.Repo); len(left) > 0 {
					t.Errorf("left in the repository: %q", left)
				}
			})
		}
	}
}

// A cancelation ends the programs too, even one that would wait for ever.
func TestCanceled(t *testing.T) {
	for _, format := range rootFormats {
		t.Run(string(format), func(t *testing.T) {
			root := newRoot(t, ostreerepo.ModeBareUser, fixture.SampleTree())
			if format != export.Tar {
				script := "echo -n 9.9; [[ $1 == *V || $1 == -version ]] && exit; while :; do read -t 60 <> <(:); done"
				fakeTools(t, map[string]string{"mksquashfs": script, "sqfstar": script, "mkfs.erofs": script})
			}
			cause := errors.New("the caller has had enough")
			ctx, cancel := context.WithCancelCause(t.Context())
			dir := t.TempDir()
			_, err := export.WriteRoot(ctx, root, destination(format, filepath.Join(dir, "file")), func(uint64) { cancel(cause) })
			if !errors.Is(err, cause) {
				t.Errorf("error %v", err)
			}
			if got := files(t, dir); got != "" {
				t.Errorf("files: %s", got)
			}
		})
	}
}

// Places that can't be written to.
func TestBadPlaces(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	dir := t.TempDir()
	must(t, unix.Mkfifo(filepath.Join(dir, "fifo"), 0o600))
	must(t, os.Mkdir(filepath.Join(dir, "dir"), 0o700))
	for file, want := range map[string]string{"fifo": "no regular file", "dir": "is a directory", "none/file": "no such file or directory"} {
		if _, err := export.WriteRoot(t.Context(), root, destination(export.Tar, filepath.Join(dir, file)), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
	if got := files(t, dir); got != "dir fifo" {
		t.Errorf("files: %s", got)
	}
}

// What a killed process has left is deleted.
func TestLeftoversOfTheDead(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBareUser, smallTree())
	dir := t.TempDir()
	dead := filepath.Join(dir, ".ostree-importd-dead")
	must(t, os.MkdirAll(filepath.Join(dead, "deep"), 0o700))
	must(t, os.WriteFile(filepath.Join(dead, "lock"), nil, 0o600))
	parent, err := dirfd.Open(dir)
	must(t, err)
	defer parent.Close()
	alive, err := scratch.New(parent)
	must(t, err)
	defer alive.Close()
	write(t, root, export.Tar, filepath.Join(dir, "file"))
	if _, err := os.Stat(dead); !os.IsNotExist(err) {
		t.Errorf("the dead directory: %v", err)
	}
	if _, err := alive.Stat("lock"); err != nil {
		t.Errorf("the living directory: %v", err)
	}
}

// The steps count all paths.
func TestSteps(t *testing.T) {
	root := newRoot(t, ostreerepo.ModeBareUser, fixture.SampleTree())
	for _, format := range rootFormats {
		var steps, last uint64
		_, err := export.WriteRoot(t.Context(), root, destination(format, filepath.Join(t.TempDir(), "file")), func(total uint64) { steps, last = steps+1, total })
		must(t, err)
		if steps != last || steps != uint64(len(fixture.SampleTree())) {
			t.Errorf("%s: %d steps of %d", format, steps, last)
		}
	}
}

// A sqfstar that can be told of the root directory's attributes is, and reads the archive.
func TestNewerSqfstar(t *testing.T) {
	nodes := smallTree()
	n := nodes[""]
	n.Xattrs = map[string]string{"user.root": "a\x00b", "security.x": "1"}
	nodes[""] = n
	root, out := newRoot(t, ostreerepo.ModeBareUser, nodes), filepath.Join(t.TempDir(), "told")
	fakeTools(t, map[string]string{
		"mksquashfs": "[ $1 = -version ] && echo 'mksquashfs version 4.6.1 (2023/03/25)'",
		"sqfstar":    `printf '%s\n' "$@" > ` + out + `; tar -t >> ` + out,
	})
	write(t, root, export.Squashfs, filepath.Join(t.TempDir(), "file"))
	got := readFile(t, out)
	want := "-root-mode\n1755\n-root-uid\n3\n-root-gid\n4\n-p\n/ x security.x=0sMQ==\n-p\n/ x user.root=0sYQBi\n"
	if !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "/proc/self/fd/3\nusr/\nusr/a\nusr/link\nusr/same\nusr/same2\n") {
		t.Errorf("got %s", got)
	}
}
