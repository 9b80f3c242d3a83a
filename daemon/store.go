package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/sirupsen/logrus"

	"github.com/ostree-importd/ostree-importd/ostreerepo/crashpoint"
)

// Names in the state directory. A file that can't be understood gets brokenSuffix appended; one
// that was being written in a crash has partSuffix.
const (
	counterFile  = "next-job"
	jobsDir      = "jobs"
	plansDir     = "prepared"
	recordSuffix = ".json"
	brokenSuffix = ".broken"
	partSuffix   = ".part"
)

// newRecord is what is stored of a job.
func newRecord(j *job) jobRecord {
	record := jobRecord{Status: j.status, Work: j.work}
	for _, named := range j.transactions {
		if named.UID == j.status.CallerUID {
			record.Transactions = append(record.Transactions, named.ID)
		} else {
			record.Joined = append(record.Joined, named)
		}
	}
	return record
}

// transactions are all ids of the job.
func (r jobRecord) transactions() []transaction {
	all := r.Joined
	for _, id := range r.Transactions {
		all = append(all, transaction{r.Status.CallerUID, id})
	}
	return all
}

// errTooLarge means that a record is larger than any that is written. It is dropped rather than
// moved aside: the directory is usually in memory.
var errTooLarge = errors.New("the record is too large")

// store is the state directory. Files appear whole or not at all. They are not synced to a disk:
// they need to survive the process, not the machine. Its user sees to it that no two calls for one
// file run at once.
type store struct {
	dir string
	log logrus.FieldLogger
}

// jobRecord is what is stored of a job.
type jobRecord struct {
	Status JobStatus `json:"status"`
	Work   work      `json:"work"`
	// Transactions are the ids that the job's creator has given it, and Joined those of other
	// users.
	Transactions []string      `json:"transactions,omitempty"`
	Joined       []transaction `json:"joined-transactions,omitempty"`
}

func (s store) open() error {
	for _, dir := range []string{jobsDir, plansDir} {
		if err := os.MkdirAll(filepath.Join(s.dir, dir), 0o700); err != nil {
			return fmt.Errorf("state: cannot make the directory for %s: %w", dir, err)
		}
	}
	return nil
}

func (s store) loadCounter() uint64 {
	s.remove(counterFile + partSuffix)
	text, err := os.ReadFile(filepath.Join(s.dir, counterFile))
	if errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	var next uint64
	if err == nil {
		next, err = strconv.ParseUint(strings.TrimSpace(string(text)), 10, 63)
	}
	if err != nil {
		s.setAside(counterFile, err)
	}
	return next
}

func (s store) saveCounter(next uint64) error {
	return s.write(counterFile, []byte(strconv.FormatUint(next, 10)+"\n"))
}

// saveJob reports a failure in the log alone: the job goes on, and is only unknown to the next
// instance. So are results that are too large for a record.
func (s store) saveJob(record jobRecord) {
	err := s.saveRecord(jobsDir, record.Status.ID, record, maxJobRecord)
	if errors.Is(err, errTooLarge) {
		record.Status.Import, record.Status.Results = nil, nil
		err = s.saveRecord(jobsDir, record.Status.ID, record, maxJobRecord)
	}
	if err != nil {
		s.log.WithError(err).Warnf("cannot save the record of job %d", record.Status.ID)
	}
}

// savePlan is saveJob for a plan.
func (s store) savePlan(p Prepared) {
	if err := s.saveRecord(plansDir, p.ID, p, maxRecord); err != nil {
		s.log.WithError(err).Warnf("cannot save the record of prepared import %d", p.ID)
	}
}

func (s store) removeJob(id uint64)  { s.remove(recordName(jobsDir, id)) }
func (s store) removePlan(id uint64) { s.remove(recordName(plansDir, id)) }

func (s store) saveRecord(dir string, id uint64, record any, limit int) error {
	text, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if len(text) > limit {
		return fmt.Errorf("%w: %d bytes; at most %d are written", errTooLarge, len(text), limit)
	}
	return s.write(recordName(dir, id), text)
}

func (s store) write(name string, content []byte) error {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path+partSuffix, content, 0o600); err != nil {
		return err
	}
	crashpoint.Pass("record written")
	return os.Rename(path+partSuffix, path)
}

// read gives the content of a file that is not too large.
func (s store) read(name string) ([]byte, error) {
	path := filepath.Join(s.dir, name)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxRecord {
		return nil, fmt.Errorf("%w: %d bytes; at most %d are read", errTooLarge, info.Size(), maxRecord)
	}
	return os.ReadFile(path)
}

func (s store) remove(name string) {
	if err := os.Remove(filepath.Join(s.dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.WithError(err).Warn("cannot remove an old record")
	}
}

// setAside moves a file that can't be used out of the way, where a person can look at it.
func (s store) setAside(name string, why error) {
	log := s.log.WithError(why).WithField("file", filepath.Join(s.dir, name))
	if err := os.Rename(filepath.Join(s.dir, name), filepath.Join(s.dir, name+brokenSuffix)); err != nil {
		log.Warnf("cannot use a record, nor move it aside: %v", err)
		return
	}
	log.Warnf("cannot use a record; moved it aside with the suffix %s", brokenSuffix)
}

// load reads all records of a directory. Each is given to use with the id that its name says; those
// that can't be read, or for which use returns an error, are set aside, and those that are too
// large are removed.
func load[T any](s store, dir string, use func(id uint64, record T) error) error {
	entries, err := os.ReadDir(filepath.Join(s.dir, dir))
	if err != nil {
		return fmt.Errorf("state: cannot list the records of %s: %w", dir, err)
	}
	for _, entry := range entries {
		name := filepath.Join(dir, entry.Name())
		switch filepath.Ext(name) {
		case partSuffix:
			s.remove(name)
		case recordSuffix:
			switch err := loadOne(s, name, use); {
			case errors.Is(err, errTooLarge):
				s.log.WithError(err).WithField("file", filepath.Join(s.dir, name)).
					Warn("cannot use a record; removed it")
				s.remove(name)
			case err != nil:
				s.setAside(name, err)
			}
		}
	}
	return nil
}

func loadOne[T any](s store, name string, use func(id uint64, record T) error) error {
	id, err := strconv.ParseUint(strings.TrimSuffix(filepath.Base(name), recordSuffix), 10, 63)
	if err != nil {
		return errors.New("the name is not a number")
	}
	text, err := s.read(name)
	if err != nil {
		return err
	}
	var record T
	if err := json.Unmarshal(text, &record); err != nil {
		return err
	}
	return use(id, record)
}

func recordName(dir string, id uint64) string {
	return filepath.Join(dir, strconv.FormatUint(id, 10)+recordSuffix)
}
