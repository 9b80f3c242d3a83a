package daemon

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ostree-importd/ostree-importd/importer"
)

// How many jobs of a lane run at once. An import mostly waits for its registry, which may be slow
// for days: a few such must not keep the others from starting. Its memory comes from the budget of
// the process; a skopeo takes about 30 MB, so that 16 stay below the unit's MemoryHigh=.
const (
	maxWrites  = 1
	maxImports = 16
	maxReads   = 2
	maxLookups = 4
)

// slots returns how many jobs of a lane run at once.
func (m *Manager) slots(l lane) int {
	switch l {
	case laneImport:
		return m.cfg.Imports
	case laneRead:
		return maxReads
	case laneLookup:
		return maxLookups
	}
	return maxWrites
}

// share returns how many jobs of a lane may run at once that one user has asked for. Imports can
// take as long as a registry likes, so that no user but root may have more than half of their
// slots.
func (m *Manager) share(l lane, uid uint32) int {
	if l == laneImport && uid != 0 {
		return max(1, m.slots(l)/2)
	}
	return m.slots(l)
}

// inTheWay returns those of some jobs that one of a user has to wait for, nil if it can run beside
// all of them.
func (m *Manager) inTheWay(t task, uid uint32, others []*job) []*job {
	same := func(keep func(*job) bool) []*job {
		return slices.DeleteFunc(slices.Clone(others), func(j *job) bool { return !keep(j) })
	}
	if t.writes != "" {
		if way := same(func(j *job) bool { return j.writes == t.writes }); len(way) > 0 {
			return way
		}
	}
	if way := same(func(j *job) bool { return j.lane == t.lane }); len(way) >= m.slots(t.lane) {
		return way
	}
	if way := same(func(j *job) bool { return j.lane == t.lane && j.status.CallerUID == uid }); len(way) >= m.share(t.lane, uid) {
		return way
	}
	return nil
}

// schedule starts the queued jobs that nothing is in the way of, in the order of their ids, and
// tells what the others wait for. m.mu is held.
func (m *Manager) schedule() {
	if m.closing {
		return
	}
	running := slices.DeleteFunc(slices.Clone(m.active), func(j *job) bool { return j.status.State == StateQueued })
	for _, j := range slices.Clone(m.active) {
		if j.status.State != StateQueued || !j.announced {
			continue
		}
		if way := m.inTheWay(j.task, j.status.CallerUID, running); way != nil {
			m.waits(j, describe(way))
			continue
		}
		running = append(running, j)
		m.start(j)
	}
}

// waits says what a queued job waits for.
func (m *Manager) waits(j *job, what string) {
	if j.status.WaitsFor != what {
		j.status.WaitsFor = what
		m.changed(j)
	}
}

// describe names jobs that another one waits for, or waits for the first of.
func describe(jobs []*job) string {
	if len(jobs) == 1 {
		return jobs[0].name()
	}
	return "one of the jobs " + ids(jobs)
}

func ids(jobs []*job) string {
	all := make([]string, len(jobs))
	for i, j := range jobs {
		all[i] = fmt.Sprint(j.id)
	}
	return strings.Join(all, ", ")
}

// name names a job for people.
func (j *job) name() string { return fmt.Sprintf("job %d (%s of %s)", j.id, j.work.Type, j.subject) }

// atWork says whom a running job waits for that waits for the repository: jobs, or another process.
func (m *Manager) atWork(j *job) string {
	others := slices.DeleteFunc(slices.Clone(m.active), func(other *job) bool {
		waits := other.status.Progress.Stage == importer.StageWait
		return other == j || other.status.State == StateQueued || other.lane == laneLookup || waits && other.lane != laneWrite
	})
	switch len(others) {
	case 0:
		return "another process that works on the repository"
	case 1:
		return others[0].name()
	}
	return "the jobs " + ids(others)
}
