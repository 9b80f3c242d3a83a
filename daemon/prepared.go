package daemon

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Prepared is a stored plan. Readers must not change what Plan points to.
type Prepared struct {
	ID      uint64        `json:"id"` // that of the job that made it
	Plan    importer.Plan `json:"plan"`
	Expires time.Time     `json:"expires"`
}

// plan is a Prepared with the timer that ends it.
type plan struct {
	Prepared
	expiry *time.Timer
}

// Prepared gives a stored plan. The error has importer.KindPreparedExpired if it was there and went
// by itself, and KindNoSuchPrepared otherwise.
func (m *Manager) Prepared(id uint64) (Prepared, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.findPlan(id)
	if err != nil {
		return Prepared{}, err
	}
	return p.Prepared, nil
}

// ListPrepared gives all stored plans, by id.
func (m *Manager) ListPrepared() []Prepared {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]Prepared, 0, len(m.plans))
	for _, p := range m.plans {
		all = append(all, p.Prepared)
	}
	slices.SortFunc(all, func(a, b Prepared) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Discard removes a stored plan. Jobs that import it go on. The errors are those of Prepared.
func (m *Manager) Discard(id uint64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p, err := m.findPlan(id)
	if err != nil {
		return err
	}
	m.dropPlan(p)
	return nil
}

func (m *Manager) findPlan(id uint64) (*plan, error) {
	if p, ok := m.plans[id]; ok {
		return p, nil
	}
	if m.expired[id] {
		return nil, newError(importer.KindPreparedExpired, "prepare the image again", "prepared import %d has expired", id)
	}
	return nil, newError(importer.KindNoSuchPrepared, "", "there is no prepared import %d", id)
}

// keepPlan stores the plan that job id made. m.mu is held, as in all that follows.
func (m *Manager) keepPlan(id uint64, stored importer.Plan) {
	p := Prepared{ID: id, Plan: stored, Expires: time.Now().Add(m.cfg.PreparedTTL)}
	m.store.savePlan(p)
	m.addPlan(p, m.cfg.PreparedTTL)
}

// addPlan keeps a plan for a time, and no more than PreparedMax of them and maxPlans bytes of
// documents: the oldest ones go.
func (m *Manager) addPlan(stored Prepared, remaining time.Duration) {
	p := &plan{Prepared: stored}
	p.expiry = time.AfterFunc(remaining, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.expirePlan(p)
	})
	m.plans[p.ID] = p
	for len(m.plans) > m.cfg.PreparedMax || len(m.plans) > 1 && m.planBytes() > maxPlans {
		m.expirePlan(m.plans[slices.Min(slices.Collect(maps.Keys(m.plans)))])
	}
}

// planBytes is the size of the documents of all plans.
func (m *Manager) planBytes() (size int) {
	for _, p := range m.plans {
		size += len(p.Plan.Manifest) + len(p.Plan.Config)
	}
	return size
}

// expirePlan drops a plan that nobody discarded, and remembers the last ones that went so.
func (m *Manager) expirePlan(p *plan) {
	if m.plans[p.ID] != p {
		return
	}
	m.dropPlan(p)
	m.expired[p.ID] = true
	if len(m.expired) > m.cfg.PreparedMax {
		delete(m.expired, slices.Min(slices.Collect(maps.Keys(m.expired))))
	}
}

func (m *Manager) dropPlan(p *plan) {
	p.expiry.Stop()
	delete(m.plans, p.ID)
	m.store.removePlan(p.ID)
	m.emit(Event{Type: PreparedRemoved, PreparedID: p.ID})
}
