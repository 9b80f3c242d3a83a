package daemon

import (
	"context"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/importer"
)

// Config is what a Manager needs.
type Config struct {
	// Importer gives what does the work. It is asked at each request and job, so that the daemon
	// can start and answer before there is a repository. It keeps what it has opened; its error,
	// with importer.KindNotAvailable, is the answer to the request.
	Importer func() (*importer.Importer, error)
	// Init makes the repository that Importer gives a worker for; see importer.Init.
	Init func(context.Context, importer.InitRequest) (*importer.InitResult, error)
	// StateDir is made if missing. It should live as long as the boot: a directory below /run.
	StateDir string
	// Log takes the job log; nil discards it.
	Log logrus.FieldLogger
	// Retain and RetainMax say how long and how many finished jobs are kept. Zero means 10 minutes
	// and 64.
	Retain    time.Duration
	RetainMax int
	// MaxJobs is how many jobs may be queued or running. Zero means 64.
	MaxJobs int
	// Imports is how many imports may run at once. Zero means 4.
	Imports int
	// PreparedTTL and PreparedMax say how long and how many plans are kept. Zero means 1 hour and
	// 64.
	PreparedTTL time.Duration
	PreparedMax int
}

func (c Config) withDefaults() Config {
	orDefault(&c.Retain, retainTime)
	orDefault(&c.RetainMax, retainMax)
	orDefault(&c.MaxJobs, maxJobs)
	orDefault(&c.Imports, maxImports)
	orDefault(&c.PreparedTTL, preparedTime)
	orDefault(&c.PreparedMax, preparedMax)
	if c.Log == nil {
		logger := logrus.New()
		logger.SetOutput(io.Discard)
		c.Log = logger
	}
	return c
}

func orDefault[T comparable](value *T, fallback T) {
	var zero T
	if *value == zero {
		*value = fallback
	}
}

// Caller is who asks, for the records and the log. Whether the caller may ask has been decided
// before.
type Caller struct {
	UID  uint32
	Unit string // the systemd unit, or ""
	// Descriptors are what the caller has opened for the job. They become the manager's when it
	// returns a job: it closes them when that ends.
	Descriptors []*importer.Descriptor
}

// JobOptions are the options that every job takes.
type JobOptions struct {
	// TransactionID makes a call idempotent: a second call of the same user with it gets the first
	// one's job, finished or not, as long as that is retained. With another request it is refused
	// with importer.KindInvalidOption. Empty: none.
	TransactionID string
	// NoQueue refuses with importer.KindBusy instead of waiting behind other jobs.
	NoQueue bool
}
