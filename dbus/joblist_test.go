package dbus

import (
	"errors"
	"reflect"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/importer"
)

// listedJob is one entry of ListJobs.
type listedJob struct {
	ID           uint64
	Type         string
	Image        string
	State        string
	Progress     float64
	Result       string
	ErrorName    string
	ErrorMessage string
	Path         godbus.ObjectPath
}

func TestListJobsTellsHowJobsEnded(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	s.registry.fail("example.com/closed",
		&importer.Error{Kind: importer.KindNetwork, Err: errors.New("the line is dead")})
	s.registry.block(t, "example.com/endless")
	const prefix = "docker://example.com/"
	for _, image := range []string{"image", "closed", "endless"} {
		id, path := s.startImport(t, conn, prefix+image, nil)
		if image == "endless" {
			if err := s.manage(conn, "CancelJob", id).Err; err != nil {
				t.Fatal(err)
			}
		}
		_ = s.wait(conn, path)
	}
	s.startImport(t, conn, prefix+"endless", nil)

	var jobs []listedJob
	if err := s.manage(conn, "ListJobs").Store(&jobs); err != nil || len(jobs) != 4 {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	network, canceled := errorPrefix+"Network", errorPrefix+"Canceled"
	want := []listedJob{
		{1, "import", prefix + "image", "finished", 0, "done", "", "", jobPath(1)},
		{2, "import", prefix + "closed", "finished", 0, "failed", network, "open: the line is dead", jobPath(2)},
		{3, "import", prefix + "endless", "finished", 0, "canceled", canceled, "job 3 was canceled", jobPath(3)},
	}
	for i := range want {
		jobs[i].Progress = 0 // how far the last one came is chance
	}
	if !reflect.DeepEqual(jobs[:3], want) {
		t.Errorf("listed are %+v, want %+v", jobs[:3], want)
	}
	if endless := jobs[3]; endless.Result != "" || endless.ErrorName != "" || endless.ErrorMessage != "" {
		t.Errorf("a job that runs is listed as %+v", endless)
	}
}
