//go:build hostile

package hostile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

func TestMain(m *testing.M) { fixture.Main(m) }

const (
	manager = "org.ostree.import1.Manager"
	root    = "/org/ostree/import1"
	// ours begins the names of the daemon's own errors.
	ours = "org.ostree.import1.Error."

	// defaultLimit bounds what a row may take, also while the machine does other things.
	defaultLimit = 30 * time.Second
	// defaultMemory bounds the daemon's resident memory: its budget for layers, and what the
	// program itself takes.
	defaultMemory = 512 << 20
)

// row is one attack.
type row struct {
	name string
	// ask does it and returns the error that it ended with.
	ask func(t *testing.T, s *stage) error
	// want is the name of the error, without ours; several are divided by "|", and "" is success.
	want   string
	says   string        // is part of the error's message
	limit  time.Duration // 0: defaultLimit
	memory uint64        // 0: defaultMemory
	how    method        // of registries
}

// stage is a daemon with a repository.
type stage struct {
	repo *ostreerepo.Repo
	bus  *fixture.Bus
	pid  int
}

func newStage(t *testing.T) *stage {
	t.Helper()
	needs.Root(t)
	removeOutside(t)
	t.Cleanup(func() { removeOutside(t) })
	s := &stage{repo: fixture.NewRepo(t, ostreerepo.ModeBare)}
	s.bus = fixture.StartBus(t, fixture.DaemonOptions{Repo: s.repo.Path()})
	if err := s.call("ListJobs").Err; err != nil {
		t.Fatal(err)
	}
	s.pid = s.bus.Daemon()
	return s
}

// options are those of a call.
type options = map[string]any

// call calls a method of the manager as root and waits for the reply.
func (s *stage) call(method string, args ...any) *godbus.Call {
	return s.bus.Object(root).Call(manager+"."+method, 0, args...)
}

// pull imports an image and waits for the end of that.
func (s *stage) pull(image string, more options) error {
	given := variants(more)
	given["wait"] = godbus.MakeVariant(true)
	return s.call("Import", image, given).Err
}

func variants(of options) map[string]godbus.Variant {
	made := map[string]godbus.Variant{}
	for name, value := range of {
		made[name] = godbus.MakeVariant(value)
	}
	return made
}

// run runs the rows of a table, one after the other.
func (s *stage) run(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) { s.attack(t, r) })
	}
}

func (s *stage) attack(t *testing.T, r row) {
	before := s.images(t)
	s.forgetPeak(t)
	start := s.peak(t)
	began := time.Now()
	done := make(chan error, 1)
	go func() { done <- r.ask(t, s) }()
	limit := cmp.Or(r.limit, defaultLimit)
	select {
	case err := <-done:
		r.check(t, err)
	case <-time.After(limit):
		t.Errorf("not done in %v", limit)
		<-done
	}
	t.Logf("%.1f s, %d MiB", time.Since(began).Seconds(), s.peak(t)>>20)
	// What an earlier row has left is not this one's to blame for.
	if peak, most := s.peak(t), cmp.Or(r.memory, uint64(defaultMemory)); peak > most && peak > start+start/16 {
		t.Errorf("the daemon took %d MiB of memory, more than %d", peak>>20, most>>20)
	}
	if pid := s.bus.Daemon(); pid != s.pid {
		t.Errorf("the daemon was process %d and is %d", s.pid, pid)
		s.pid = pid
	}
	if after := s.images(t); r.want != "" && !slices.Equal(before, after) && !strings.Contains("|"+r.want+"|", "||") {
		t.Errorf("there are %d images, and were %d", len(after), len(before))
	}
}

// check compares how an attack ended with what is right.
func (r row) check(t *testing.T, err error) {
	t.Helper()
	name, message := "", ""
	var failed godbus.Error
	switch {
	case errors.As(err, &failed):
		name, message = strings.TrimPrefix(failed.Name, ours), fmt.Sprint(failed.Body...)
	case err != nil:
		name, message = "(no reply)", err.Error()
	}
	t.Logf("it ends with %q: %.300s", name, message)
	if !slices.Contains(strings.Split(r.want, "|"), name) {
		t.Errorf("it ends with %q (%.600s), want %q", name, message, r.want)
	}
	if !strings.Contains(message, r.says) {
		t.Errorf("the message does not say %q: %.600s", r.says, message)
	}
	if len(message) > 16<<10 {
		t.Errorf("the message has %d bytes", len(message))
	}
}

// images lists the refs of stored images.
func (s *stage) images(t *testing.T) []string {
	t.Helper()
	var refs []string
	dir := filepath.Join(s.repo.Path(), "refs/heads/ostree/container/image")
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			refs = append(refs, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return refs
}

var peakLine = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peak returns the most resident memory that the daemon had since forgetPeak.
func (s *stage) peak(t *testing.T) uint64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return 0 // it is gone, which is told elsewhere
	}
	found := peakLine.FindSubmatch(status)
	if found == nil {
		t.Fatalf("no VmHWM in\n%s", status)
	}
	kilobytes, err := strconv.ParseUint(string(found[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}

// forgetPeak lets the peak begin with the present memory (proc(5), clear_refs).
func (s *stage) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", s.pid), []byte("5"), 0); err != nil {
		t.Error(err)
	}
}
