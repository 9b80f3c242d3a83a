package daemon

import (
	"context"
	"encoding/json"

	"github.com/ostree-importd/ostree-importd/importer"
)

// lane is a queue: of the jobs in it as many run at once as it has slots, begun in the order of
// their ids.
type lane int

const (
	// laneWrite is for what changes a repository by what the repository has: one at a time.
	laneWrite lane = iota
	// laneImport is for what brings images in: it mostly waits for a registry, and takes the
	// repository's write slot for each landing only.
	laneImport
	// laneRead is for what reads images out of the repository: it keeps a disk or a processor busy.
	laneRead
	// laneLookup is for what mostly waits for a registry.
	laneLookup
)

// task is a request on its way to become a job. A job that has ended has only the work left of it.
type task struct {
	work work
	// subject is what JobStatus.Image shows.
	subject string
	lane    lane
	// writes is the ref that the job sets, "" if it sets none. Jobs that set the same ref run one
	// after the other: the last one asked for decides.
	writes string
	stage  importer.Stage // where the work begins
	// transient: the results are for those who wait for them, and the job is not retained.
	transient bool
	// makesRepository: there need not be a repository, and run gets no importer.
	makesRepository bool
	run             func(ctx context.Context, m *Manager, im *importer.Importer, j *job) (outcome, error)
}

// outcome is what a job that ran has to show. Of one that failed only repaired and images count.
type outcome struct {
	text     string           // one line for people who see the job's image beside it
	record   string           // one line for the log, which names the image; empty: made of text
	repaired repaired         // images that differ although their refs may not
	images   ImageChanges     // set when the job has ended
	result   *importer.Result // of an import
	plan     *importer.Plan   // of a prepare
	results  json.RawMessage  // of all others
}

// operation says how requests of one type are done.
type operation[Request, Result any] struct {
	typ       JobType
	stage     importer.Stage
	transient bool
	lane      func(Request) lane
	subject   func(Request) string
	writes    func(Request) string // see task; nil: ""
	do        func(*importer.Importer, context.Context, Request, func(importer.Progress)) (*Result, error)
	text      func(*Result) string
	// repaired tells of which images the content may differ now; the result is nil if the operation
	// failed on its way. nil: of none.
	repaired func(Request, *Result) repaired
}

// task makes a request a task.
func (o operation[Request, Result]) task(request Request) (task, error) {
	raw, err := json.Marshal(request)
	if err != nil {
		return task{}, newError(importer.KindInvalidOption, "", "%s: %w", o.typ, err)
	}
	mended := func(result *Result) repaired {
		if o.repaired == nil {
			return repaired{}
		}
		return o.repaired(request, result)
	}
	writes := ""
	if o.writes != nil {
		writes = o.writes(request)
	}
	return task{
		writes:    writes,
		work:      work{Type: o.typ, Request: raw},
		subject:   o.subject(request),
		lane:      o.lane(request),
		stage:     o.stage,
		transient: o.transient,
		run: func(ctx context.Context, m *Manager, im *importer.Importer, j *job) (outcome, error) {
			result, err := o.do(im, ctx, request, func(p importer.Progress) { m.progress(j, p) })
			if err != nil {
				return outcome{repaired: mended(nil)}, err
			}
			raw, err := json.Marshal(result)
			return outcome{text: o.text(result), repaired: mended(result), results: raw}, err
		},
	}, nil
}

// always is the lane of an operation whose requests all have the same.
func always[Request any](l lane) func(Request) lane { return func(Request) lane { return l } }

// start submits a request of an operation.
func start[Request, Result any](m *Manager, o operation[Request, Result], request Request, opts JobOptions, caller Caller) (*Job, error) {
	t, err := o.task(request)
	if err != nil {
		return nil, err
	}
	return m.submit(t, opts, caller)
}
