package daemon

import (
	"context"
	"encoding/json"

	"github.com/opencontainers/go-digest"

	"github.com/ostree-importd/ostree-importd/importer"
)

// importTask is the import of an image, or, if plan isn't nil, of exactly what that says.
func importTask(req importer.Request, plan *importer.Plan) (task, error) {
	prepare := func(ctx context.Context, im *importer.Importer) (*importer.Prepared, error) {
		return im.Prepare(ctx, req)
	}
	var manifest digest.Digest
	if plan != nil {
		manifest = plan.ManifestDigest
		prepare = func(_ context.Context, im *importer.Importer) (*importer.Prepared, error) {
			return im.Resume(*plan), nil
		}
	}
	t, err := requestTask(JobImport, laneImport, req)
	t.writes = req.Ref()
	t.work.Manifest = manifest
	t.run = func(ctx context.Context, m *Manager, im *importer.Importer, j *job) (outcome, error) {
		prepared, err := prepare(ctx, im)
		if err != nil {
			return outcome{}, err
		}
		defer m.closeSource(j, prepared)
		m.planned(j, prepared.Plan())
		result, err := prepared.Import(ctx, func(p importer.Progress) { m.progress(j, p) })
		if err != nil {
			return outcome{}, err
		}
		return outcome{
			text: ImportText(result, ""), record: importRecord(result, req.Image), result: result,
		}, nil
	}
	return t, err
}

// importRecord is the log's line about an import.
func importRecord(result *importer.Result, name string) string {
	text := ImportText(result, name)
	if result.Commit != "" {
		text += ", commit " + result.Commit
	}
	return text
}

// prepareTask makes the plan of an import.
func prepareTask(req importer.Request) (task, error) {
	t, err := requestTask(JobPrepare, laneLookup, req)
	t.run = func(ctx context.Context, m *Manager, im *importer.Importer, j *job) (outcome, error) {
		prepared, err := im.Prepare(ctx, req)
		if err != nil {
			return outcome{}, err
		}
		defer m.closeSource(j, prepared)
		plan := prepared.Plan()
		m.planned(j, plan)
		return outcome{text: PlanText(&plan, ""), record: PlanText(&plan, req.Image), plan: &plan}, nil
	}
	return t, err
}

func requestTask(typ JobType, l lane, req importer.Request) (task, error) {
	raw, err := json.Marshal(req)
	if err != nil {
		return task{}, newError(importer.KindInvalidOption, "", "%s: %w", typ, err)
	}
	return task{work: work{Type: typ, Request: raw}, subject: req.Image, lane: l, stage: importer.StageOpen}, nil
}

// closeSource ends a prepared import. The image is complete by then, or an error says why it isn't:
// a source that doesn't close well changes neither.
func (m *Manager) closeSource(j *job, prepared *importer.Prepared) {
	if err := prepared.Close(); err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.jobLog(j).WithError(err).Warn("cannot close the image's source")
	}
}

// planned takes note of what a running job is going to do.
func (m *Manager) planned(j *job, plan importer.Plan) {
	m.mu.Lock()
	j.manifest = plan.ManifestDigest
	m.mu.Unlock()
	m.progress(j, plan.Progress())
}
