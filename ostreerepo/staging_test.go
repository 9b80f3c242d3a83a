package ostreerepo_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// stagings returns the staging directories of a repository.
func stagings(t testing.TB, repo *ostreerepo.Repo) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(repo.Path(), "tmp/importd-*"))
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// startHolder starts a process that holds a staging, and returns what ends it: as one that is
// killed, not as one that closes.
func startHolder(t *testing.T, repo *ostreerepo.Repo) (kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), stagingChild+"="+repo.Path())
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = sync.OnceFunc(func() {
		cmd.Process.Kill()
		stdin.Close()
		cmd.Wait()
	})
	t.Cleanup(kill)
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the process says %q, %v", line, err)
	}
	return kill
}

func TestDeadStagingsGo(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	kill := startHolder(t, repo)
	mine := newStaging(t, repo)
	if left := stagings(t, repo); len(left) != 2 {
		t.Fatalf("the staging of a process that lives was deleted: left are %v", left)
	}
	kill()
	// One whose process died before it could lock.
	if err := os.Mkdir(filepath.Join(repo.Path(), "tmp/importd-unlocked"), 0o700); err != nil {
		t.Fatal(err)
	}
	newStaging(t, repo)
	if left := stagings(t, repo); len(left) != 2 {
		t.Errorf("left are %v instead of my two", left)
	}
	landRef(t, mine, "still/usable", manyFiles(t, mine, 3, 10, 0))
}

// TestNobodyHoldsUpStagings: who may look into tmp/ may also take locks on it.
func TestNobodyHoldsUpStagings(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	tmp, err := os.Open(filepath.Join(repo.Path(), "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	defer tmp.Close()
	if err := unix.Flock(int(tmp.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	made := make(chan error, 1)
	go func() {
		s, err := repo.NewStaging()
		if err == nil {
			err = s.Close()
		}
		made <- err
	}()
	select {
	case err := <-made:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("NewStaging waits for the lock")
	}
}

func TestStagingIsPrivate(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	newStaging(t, repo)
	if mode := lstat(t, stagings(t, repo)[0]).Mode & 0o777; mode != 0o700 {
		t.Errorf("the mode is %o", mode)
	}
}

// TestStagingSurvivesTransactions is about libostree, which deletes what it takes for left over
// from tmp/.
func TestStagingSurvivesTransactions(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	c := manyFiles(t, s, 3, 10, 0)
	cliCommit(t, repo, "other", t.TempDir())
	landRef(t, s, "mine", c)
}

// TestStagingStaysFresh is about libostree too: what is older than a day is left over.
func TestStagingStaysFresh(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	synctest.Test(t, func(t *testing.T) {
		newStaging(t, repo)
		path := stagings(t, repo)[0]
		old := []unix.Timespec{{Sec: 1}, {Sec: 1}}
		if err := unix.UtimesNanoAt(unix.AT_FDCWD, path, old, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if got := lstat(t, path).Mtim; got.Sec == 1 {
			t.Error("the time stamp was not renewed within an hour")
		}
	})
}

func TestCloseTwice(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	s := newStaging(t, repo)
	manyFiles(t, s, 3, 10, 0)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := stagings(t, repo); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

func TestUnsupportedMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "repo")
	runTool(t, "ostree", "init", "--repo="+path, "--mode=bare-user-only")
	repo, err := ostreerepo.Open(t.Context(), path, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repo.NewStaging(); err == nil || !strings.Contains(err.Error(), "bare-user-only") || !strings.Contains(err.Error(), "archive") {
		t.Errorf("got %v", err)
	}
	if _, _, err := repo.OpenFile(objects.Checksum{}); err == nil {
		t.Error("a file can be opened")
	}
}

// TestWriteSkips asserts that what the repository has is not written again.
func TestWriteSkips(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			write := func(s *ostreerepo.Staging) (commit, large objects.Checksum) {
				t.Helper()
				large, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG}, 2<<20, io.LimitReader(zeros{}, 2<<20))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.WriteSymlink(objects.FileHeader{Target: "target"}); err != nil {
					t.Fatal(err)
				}
				return manyFiles(t, s, 150, 10, 0), large
			}
			first := newStaging(t, repo)
			c, large := write(first)
			landFile(t, first, large)
			landRef(t, first, "many", c)
			if err := first.Close(); err != nil {
				t.Fatal(err)
			}
			again := newStaging(t, repo)
			if commit, file := write(again); commit != c || file != large {
				t.Errorf("the second time they are %s, %s instead of %s, %s", commit, file, c, large)
			}
			files, err := filepath.Glob(filepath.Join(stagings(t, repo)[0], "objects/*/*"))
			// The symlink is in no commit, so that it did not land.
			if err != nil || len(files) != 1 {
				t.Errorf("written again were %v, %v", files, err)
			}
			if loose, _ := filepath.Glob(filepath.Join(stagings(t, repo)[0], "objects/*tmp*")); len(loose) > 0 {
				t.Errorf("temporary files are left: %v", loose)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func TestWriteFileRefuses(t *testing.T) {
	s := newStaging(t, newRepo(t, ostreerepo.ModeBareUser))
	broken := errors.New("the source is broken")
	const large = 3 << 20
	file := objects.FileHeader{Mode: unix.S_IFREG | 0o644}
	for _, test := range []struct {
		name    string
		h       objects.FileHeader
		size    int64
		content io.Reader
		want    error  // or nil
		text    string // in the error
	}{
		{"short, small", file, 10, strings.NewReader("123"), io.ErrUnexpectedEOF, "3 of 10"},
		{"short, large", file, large, io.LimitReader(zeros{}, large-1), io.ErrUnexpectedEOF, "3145727 of 3145728"},
		{"long, small", file, 10, strings.NewReader("12345678901"), nil, "longer than its 10 bytes"},
		{"long, large", file, large, zeros{}, nil, "longer than its 3145728 bytes"},
		{"long by one where nothing is expected", file, 0, strings.NewReader("1"), nil, "longer"},
		{"broken, small", file, 10, iotest.ErrReader(broken), broken, "0 of 10"},
		{"broken, large", file, large, io.MultiReader(io.LimitReader(zeros{}, 2<<20), iotest.ErrReader(broken)), broken, "2097152 of"},
		{"broken at the end", file, 3, io.MultiReader(strings.NewReader("123"), iotest.ErrReader(broken)), broken, "3 of 3"},
		{"negative size", file, -1, strings.NewReader(""), nil, "-1"},
		{"directory", objects.FileHeader{Mode: unix.S_IFDIR | 0o755}, 0, strings.NewReader(""), nil, "file type"},
		{"symlink", objects.FileHeader{Mode: unix.S_IFLNK | 0o777, Target: "t"}, 0, strings.NewReader(""), nil, "symlink"},
		{"attribute without name", objects.FileHeader{Mode: unix.S_IFREG, Xattrs: objects.Xattrs{{Value: []byte("v")}}}, 0, strings.NewReader(""), nil, "attribute"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := s.WriteFile(test.h, test.size, test.content)
			if err == nil || !strings.Contains(err.Error(), test.text) || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
			if !c.IsZero() {
				t.Errorf("the checksum is %s", c)
			}
		})
	}
	for _, h := range []objects.FileHeader{{}, {Target: "\xff"}, {Target: "a\x00b"}} {
		if _, err := s.WriteSymlink(h); err == nil {
			t.Errorf("%+v is accepted", h)
		}
	}
}

func TestStagingReads(t *testing.T) {
	repo := newRepo(t, ostreerepo.ModeBareUser)
	landed := newStaging(t, repo)
	old := manyFiles(t, landed, 5, 10, 0)
	landRef(t, landed, "old", old)
	s := newStaging(t, repo)
	staged := manyFiles(t, s, 7, 10, 100)
	for _, c := range []objects.Checksum{old, staged} {
		commit, err := s.Commit(c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.DirTree(commit.Tree); err != nil {
			t.Error(err)
		}
		if _, err := s.DirMeta(commit.Meta); err != nil {
			t.Error(err)
		}
	}
	if _, err := repo.Commit(staged); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("the repository has it before it landed: %v", err)
	}
	if _, err := s.Commit(objects.ChecksumOf(nil)); !errors.Is(err, ostreerepo.ErrNoObject) {
		t.Errorf("got %v", err)
	}
}

// TestConcurrentLands writes to several stagings by several goroutines each, and lands them at
// once.
func TestConcurrentLands(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			repo := newRepo(t, mode)
			var group sync.WaitGroup
			commits := make([]objects.Checksum, 4)
			for i := range commits {
				group.Go(func() { commits[i] = concurrentLand(t, repo, i) })
			}
			group.Wait()
			for i, want := range commits {
				if got, err := repo.Resolve(fmt.Sprintf("layer/%d", i)); err != nil || got != want {
					t.Errorf("layer %d is %s, %v instead of %s", i, got, err, want)
				}
			}
			checkClean(t, repo)
		})
	}
}

// concurrentLand writes files of which the other calls write half too.
func concurrentLand(t *testing.T, repo *ostreerepo.Repo, number int) objects.Checksum {
	s, err := repo.NewStaging()
	if err != nil {
		t.Error(err)
		return objects.Checksum{}
	}
	defer s.Close()
	const files, writers = 200, 3
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for i := range files {
				content := fmt.Appendf(nil, "shared %d", i)
				if i%2 == 0 {
					content = fmt.Appendf(nil, "of layer %d: %d", number, i)
				}
				if _, err := s.WriteFile(objects.FileHeader{Mode: unix.S_IFREG | 0o644}, int64(len(content)), bytes.NewReader(content)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	c := manyFiles(t, s, files, 20, uint64(number*files/2))
	if err := errors.Join(s.SetRef(fmt.Sprintf("layer/%d", number), c), s.Land(t.Context())); err != nil {
		t.Error(err)
	}
	return c
}
