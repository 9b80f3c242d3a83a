package daemon

import (
	"context"
	"encoding/json"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Init starts importer.Init for the repository that this Manager works on. The rest is as for
// Import.
func (m *Manager) Init(req importer.InitRequest, opts JobOptions, caller Caller) (*Job, error) {
	t, err := initTask(req)
	if err != nil {
		return nil, err
	}
	return m.submit(t, opts, caller)
}

// initTask makes the repository. Nothing else can be at work on it before.
func initTask(req importer.InitRequest) (task, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return task{}, newError(importer.KindInvalidOption, "", "%s: %w", JobInit, err)
	}
	return task{
		work:            work{Type: JobInit, Request: raw},
		subject:         "the repository",
		lane:            laneWrite,
		stage:           importer.StageInit,
		makesRepository: true,
		run: func(ctx context.Context, m *Manager, _ *importer.Importer, _ *job) (outcome, error) {
			result, err := m.cfg.Init(ctx, req)
			if err != nil {
				return outcome{}, err
			}
			raw, err := json.Marshal(result)
			return outcome{text: initText(result), record: initText(result), results: raw}, err
		},
	}, nil
}

func initText(r *importer.InitResult) string {
	if r.Created {
		return "made the repository " + r.Repository
	}
	return "the repository " + r.Repository + " was there already"
}
