package importer

import (
	"context"
	"sync"

	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
	"github.com/ostree-importd/ostree-importd/ostreerepo/objects"
)

// lander lands layers that were read into one staging, in the background and as many at once as
// have come meanwhile. To land one layer takes hardly less time than to land ten, most of it
// waiting for the disk, and an encapsulated commit has up to a hundred.
type lander struct {
	st   *ostreerepo.Staging
	repo *ostreerepo.Repo
	wake chan struct{} // holds a value when something is pending; closed when no more will come
	done chan struct{}

	mu      sync.Mutex
	pending []landing

	// To be read when finish has returned.
	err      error
	landed   []landing
	doubtful []landing // those of landed whose commits were there before: ostree has brought nothing of them
}

// landing is a layer that is to land.
type landing struct {
	index int // of the layer in the plan
	ref   string
	objects.Checksum
}

// startLander makes the staging and starts the landing; finish must be called. fail is called when
// a landing fails.
func startLander(ctx context.Context, repo *ostreerepo.Repo, fail context.CancelCauseFunc) (*lander, error) {
	st, err := repo.NewStaging()
	if err != nil {
		return nil, classify(StageLayer, err)
	}
	l := &lander{st: st, repo: repo, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		for range l.wake {
			if err := l.land(ctx); err != nil {
				l.err = stopped(ctx, StageLand, classify(StageLand, err))
				fail(l.err)
				return
			}
		}
	}()
	return l, nil
}

// add has a layer landed whose commit is in the staging. It does not wait for that.
func (l *lander) add(one landing) {
	l.mu.Lock()
	l.pending = append(l.pending, one)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// land lands what is pending. Refs are set here and not where layers are added, so that none is
// half-written when ostree looks at them.
func (l *lander) land(ctx context.Context) error {
	l.mu.Lock()
	batch := l.pending
	l.pending = nil
	l.mu.Unlock()
	for _, one := range batch {
		if l.repo.Has(objects.KindCommit, one.Checksum) {
			l.doubtful = append(l.doubtful, one)
		}
		if err := l.st.SetRef(one.ref, one.Checksum); err != nil {
			return err
		}
	}
	if len(batch) == 0 {
		return nil
	}
	crashpoint.Pass("base chunks")
	if err := l.st.Land(ctx); err != nil {
		return err
	}
	crashpoint.Pass("base chunks landed")
	l.landed = append(l.landed, batch...)
	return nil
}

// finish waits until everything that was added has landed, unless a landing fails. Nothing must be
// added any more.
func (l *lander) finish() error {
	close(l.wake)
	<-l.done
	return l.err
}
