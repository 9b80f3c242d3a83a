package daemon

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ostree-importd/ostree-importd/importer"
)

// JobType says what a job does.
type JobType string

const (
	// JobImport brings an image into the repository.
	JobImport JobType = "import"
	// JobPrepare reads manifest and config of an image and stores what an import of it would do.
	JobPrepare JobType = "prepare"
	// JobInit makes the repository.
	JobInit JobType = "init"
	// The others are the operations of importer.Importer of the same names.
	JobUnencapsulate JobType = "unencapsulate"
	JobEncapsulate   JobType = "encapsulate"
	JobExport        JobType = "export"
	JobCopy          JobType = "copy"
	JobRemove        JobType = "remove"
	JobPrune         JobType = "prune"
	JobVerify        JobType = "verify"
	JobCompare       JobType = "compare"
	JobCheckUpdate   JobType = "check-update"
)

// IsLookup reports whether jobs of this type only find something out for whoever waits for the
// answer. No event tells of them: nobody else has use for one, and many may ask often.
func (t JobType) IsLookup() bool {
	return t == JobPrepare || t == JobCompare || t == JobCheckUpdate
}

// JobState is where a job stands.
//
//	          Start, and a free slot
//	queued ───────────────────────────▶ running ──────▶ finished
//	  │                                    │ Cancel        ▲ ▲
//	  │                                    ▼               │ │
//	  │                                canceling ──────────┘ │
//	  └──────────────── Cancel, Shutdown ────────────────────┘
//
// Nothing leads out of finished. A job that reaches its end although it was asked to stop (the
// request came too late) is finished with the result that it has, not with ResultCanceled.
type JobState string

const (
	// StateQueued: waiting for Start or for a slot.
	StateQueued JobState = "queued"
	// StateRunning: at work.
	StateRunning JobState = "running"
	// StateCanceling: told to stop, and not yet at its end.
	StateCanceling JobState = "canceling"
	// StateFinished: at its end; Result says which.
	StateFinished JobState = "finished"
)

// JobResult is how a finished job ended.
type JobResult string

const (
	// ResultNone: not finished.
	ResultNone JobResult = ""
	// ResultDone: the job did what was asked.
	ResultDone JobResult = "done"
	// ResultFailed: ErrorKind and ErrorMessage say why.
	ResultFailed JobResult = "failed"
	// ResultCanceled: somebody stopped it; ErrorKind is importer.KindCanceled.
	ResultCanceled JobResult = "canceled"
)

// JobStatus is a copy of all that is known of one job at one moment.
type JobStatus struct {
	ID   uint64  `json:"id"`
	Type JobType `json:"type"`
	// Image is the reference as the caller wrote it. For operations on something else it says in a
	// word or two what on: the commit to encapsulate, the scope to prune, the first of several
	// images.
	Image string `json:"image"`
	// TransactionID is the one that the job was created with; "" if none.
	TransactionID string `json:"transaction-id,omitempty"`
	// CallerUID and CallerUnit tell who created the job, whoever else shares it.
	CallerUID  uint32   `json:"caller-uid"`
	CallerUnit string   `json:"caller-unit,omitempty"`
	State      JobState `json:"state"`
	// Cancellable is false when Cancel would be refused: at the end, and while the image is being
	// written.
	Cancellable bool              `json:"cancellable"`
	Progress    importer.Progress `json:"progress"`
	// WaitsFor says what a job waits for that is queued, or running and in importer.StageWait; ""
	// otherwise.
	WaitsFor string `json:"waits-for,omitempty"`
	// StatusText is one line for people.
	StatusText   string        `json:"status-text"`
	Result       JobResult     `json:"result,omitempty"`
	ErrorKind    importer.Kind `json:"error-kind,omitempty"`
	ErrorMessage string        `json:"error-message,omitempty"`
	// Started and Finished are zero until then.
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	// Import is set for an import with ResultDone. Readers must not change it.
	Import *importer.Result `json:"import,omitempty"`
	// PreparedID names the stored plan of a prepare with ResultDone; 0 otherwise.
	PreparedID uint64 `json:"prepared-id,omitempty"`
	// Results is the JSON of what any other operation with ResultDone found; see the function
	// Results. It is nil where that was too large to be kept. Readers must not change it.
	Results json.RawMessage `json:"results,omitempty"`
}

// Results reads what an operation found: T is the importer's result type that belongs to the type
// of the job.
func Results[T any](s JobStatus) (*T, error) {
	if s.Results == nil {
		return nil, newError(importer.KindFailed, "", "job %d has no results of a %s", s.ID, s.Type)
	}
	var results T
	if err := json.Unmarshal(s.Results, &results); err != nil {
		return nil, newError(importer.KindFailed, "daemon and client may be of different versions",
			"cannot read the results of job %d: %w", s.ID, err)
	}
	return &results, nil
}

// Fraction is the part of the job that is done, between 0 and 1, or -1 when that is not known.
func (s JobStatus) Fraction() float64 {
	if s.Result == ResultDone {
		return 1
	}
	return s.Progress.Fraction
}

// statusText is the line for people that belongs to a status. A job that is done has its own.
func statusText(s JobStatus) string {
	switch s.State {
	case StateQueued:
		return waitText(s)
	case StateCanceling:
		return "canceling"
	case StateFinished:
		return finishedText(s)
	}
	p := s.Progress
	if p.StepsTotal > 0 {
		return fmt.Sprintf("%s, %d of %d", stageText(s), p.Steps, p.StepsTotal)
	}
	return stageText(s)
}

func waitText(s JobStatus) string {
	if s.WaitsFor == "" {
		return "waiting"
	}
	return "waiting for " + s.WaitsFor
}

// stageText says what a running job is at.
func stageText(s JobStatus) string {
	switch p := s.Progress; p.Stage {
	case importer.StageWait:
		return waitText(s)
	case importer.StageFetch, importer.StageVerify, importer.StageLayer:
		if waitsForMemory(p) {
			return fmt.Sprintf("waiting for memory, %d/%d layers fetched", p.LayersDone, p.LayersTotal-p.LayersCached)
		}
		return fmt.Sprintf("fetching %d/%d layers, %d %%", p.LayersDone, p.LayersTotal-p.LayersCached, Percent(p))
	case importer.StageMerge:
		return fmt.Sprintf("merging %d layers", p.LayersTotal)
	case importer.StageEncapsulate:
		if p.LayersTotal > 0 {
			return fmt.Sprintf("making the layers, %d of %d", p.LayersDone, p.LayersTotal)
		}
	}
	return StageText(s.Progress.Stage)
}

// waitsForMemory reports whether no layer is at work because other images hold the memory.
func waitsForMemory(p importer.Progress) bool {
	begun := func(l importer.LayerProgress) bool { return l.Attempt > 0 }
	return len(p.Running) > 0 && !slices.ContainsFunc(p.Running, begun)
}

// Percent is how much of an operation is done, 0 while that is not known.
func Percent(p importer.Progress) int { return int(100 * max(0, p.Fraction)) }

// stageTexts are those of StageText.
var stageTexts = map[importer.Stage]string{
	importer.StageWait:        "waiting for others",
	importer.StageInit:        "making the repository",
	importer.StageManifest:    "reading the manifest",
	importer.StageConfig:      "reading the manifest",
	importer.StagePlan:        "comparing layers",
	importer.StageFetch:       "fetching layers",
	importer.StageVerify:      "fetching layers",
	importer.StageLayer:       "fetching layers",
	importer.StageMerge:       "merging layers",
	importer.StageLand:        "writing the image",
	importer.StageSignature:   "checking signatures",
	importer.StageCollect:     "collecting garbage",
	importer.StageCopy:        "copying the image",
	importer.StageCheck:       "checking objects",
	importer.StageRepair:      "repairing",
	importer.StageEncapsulate: "making the layers",
	importer.StageExport:      "exporting the image",
	importer.StagePush:        "pushing the image",
}

// StageText says in a few words, which fit on a narrow display, what an operation is at.
func StageText(stage importer.Stage) string {
	if text, known := stageTexts[stage]; known {
		return text
	}
	return "opening the image"
}

func finishedText(s JobStatus) string {
	switch s.Result {
	case ResultDone:
		return s.StatusText
	case ResultCanceled:
		return "canceled"
	}
	// Messages of programs can have several lines.
	return shorten("failed: "+strings.Join(strings.Fields(s.ErrorMessage), " "), maxStatusText)
}
