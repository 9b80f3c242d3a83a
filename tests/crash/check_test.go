//go:build crash

package crash

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer/check"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// programs are those that must not stay, as the kernel cuts their names.
var programs = []string{"ostree-importd", "ostree-importct", "skopeo", "ostree"}

type process struct {
	id   int
	name string
}

// processes lists the programs that run.
func processes() []process {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	var found []process
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(stat), "(")
		end := strings.LastIndexByte(rest, ')')
		if end < 0 {
			continue
		}
		name, state := rest[:end], strings.TrimSpace(rest[end+1:])
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err == nil && slices.Contains(programs, name) && state[0] != 'Z' && state[0] != 'X' {
			found = append(found, process{id, name})
		}
	}
	return found
}

// checkQuiet wants every program gone soon.
func (a *attempt) checkQuiet() {
	a.Helper()
	a.await("all programs to end", func() bool { return len(processes()) == 0 })
}

// checkSound has ostree and our own check look at the repositories. It lists all damage but that.
func (a *attempt) checkSound(but ...string) {
	a.Helper()
	for _, repo := range []*ostreerepo.Repo{a.opened, a.second} {
		fixture.MustRun(a, "ostree", "--repo="+repo.Path(), "fsck", "--quiet")
		refs, err := repo.Refs("")
		a.must(err)
		c := check.New(repo)
		for _, ref := range refs {
			a.must(ref.Err)
			a.must(c.Add(a.Context(), ref.Commit))
		}
		a.must(c.Run(a.Context(), nil))
		for _, ref := range refs {
			damage, err := c.Damage(a.Context(), ref.Commit)
			a.must(err)
			damage = slices.DeleteFunc(damage, func(d check.Damage) bool { return slices.Contains(but, d.Problem) })
			if len(damage) > 0 {
				a.Errorf("the ref %s is not whole: %v", ref.Name, damage)
			}
		}
	}
}

// leftover matches the names of what is not meant to stay in a destination or a state directory.
var leftover = regexp.MustCompile(`^\.|\.part$|\.broken$`)

// ofOstree matches what ostree keeps in tmp/. It deletes the locks of transactions when they are a
// day old.
var ofOstree = regexp.MustCompile(`^(cache|staging-.*-lock)$`)

// checkNothingLeft wants nothing temporary anywhere.
func (a *attempt) checkNothingLeft() {
	a.Helper()
	// In state/ are the marks of incomplete commits.
	for _, dir := range []string{
		a.path("repo/tmp"), a.path("repo/state"), a.path("second/tmp"), "/var/tmp",
	} {
		entries, err := os.ReadDir(dir)
		a.must(err)
		for _, entry := range entries {
			if !ofOstree.MatchString(entry.Name()) {
				a.Errorf("left is %s/%s", dir, entry.Name())
			}
		}
	}
	for _, dir := range []string{a.path("out"), a.bus.StateDir} {
		err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
			if os.IsNotExist(err) {
				return nil
			}
			if name := filepath.Base(path); err == nil && leftover.MatchString(name) {
				a.Errorf("left is %s", path)
			}
			return err
		})
		a.must(err)
	}
}
