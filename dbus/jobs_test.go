package dbus

import (
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/importer"
)

func TestReplyPrecedesTheJobsSignals(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	const callers, each = 4, 40
	var running sync.WaitGroup
	for caller := range callers {
		conn := s.connect(t)
		signals := s.signals(t, conn)
		running.Go(func() {
			first := make(map[uint64]godbus.Sequence) // the first signal about each job
			seen := func(signal *godbus.Signal) (finished uint64) {
				if id, isJob := signal.Body[0].(uint64); isJob && first[id] == 0 {
					first[id] = signal.Sequence
				}
				if signal.Name == managerInterface+".JobFinished" {
					return signal.Body[0].(uint64)
				}
				return 0
			}
			for n := range each {
				// A job that fails at once is the one that is most likely to overtake its reply.
				image := fmt.Sprintf("docker://example.com/overtaking/%d-%d", caller, n)
				options := variants(properties{"require-manifest-digest": someDigest})
				call := s.manage(conn, "Import", image, options)
				if call.Err != nil {
					t.Error(call.Err)
					return
				}
				id := call.Body[0].(uint64)
				for seen(receive(t, signals)) != id {
				}
				if first[id] <= call.ResponseSequence {
					t.Errorf("job %d: the reply is message %d, the first signal %d", id, call.ResponseSequence, first[id])
				}
			}
		})
	}
	running.Wait()
}

func TestSignalsOfAJob(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	signals := s.signals(t, conn)
	release := s.registry.block(t, "example.com/image")
	id, path := s.startImport(t, conn, "docker://example.com/image", nil)

	started := awaitSignal(t, signals, "JobNew")
	if started.Path != rootPath || started.Body[0] != id || started.Body[1] != path || started.Body[2] != "import" {
		t.Errorf("JobNew is %v", started)
	}
	s.notified.await(t, `STATUS=Job 1, import of "docker://example.com/image": `)
	release()
	job := make(properties)
	var active any
	for {
		signal := receive(t, signals)
		if signal.Name == managerInterface+".JobFinished" {
			if signal.Body[0] != id || signal.Body[1] != path || signal.Body[2] != "done" || signal.Body[3] != "" {
				t.Errorf("JobFinished is %v", signal)
			}
			break
		}
		if signal.Name != propertiesChanged {
			continue
		}
		for name, value := range signal.Body[1].(map[string]godbus.Variant) {
			if signal.Path == path {
				job[name] = value.Value()
			} else {
				active = value.Value()
			}
		}
	}
	if job["State"] != "finished" || job["Result"] != "done" || job["Progress"] != 1.0 || !strings.HasPrefix(fmt.Sprint(job["StatusText"]), "imported 1.0, ") {
		t.Errorf("the job's last properties are %v", job)
	}
	if job["Id"] != nil || job["Image"] != nil {
		t.Errorf("constant properties were sent: %v", job)
	}
	results, _ := job["Results"].(map[string]godbus.Variant)
	if len(results["commit"].Value().(string)) != 64 || results["layers-fetched"].Value() != uint32(1) || results["base-commit"].Value() != "" {
		t.Errorf("the results are %v", results)
	}
	if active == nil {
		t.Error("NJobs was not told")
	}
	changed := awaitSignal(t, signals, "ImagesChanged")
	if want := []any{[]string{"docker://example.com/image"}, []string{}, []string{}}; !reflect.DeepEqual(changed.Body, want) {
		t.Errorf("ImagesChanged is %v", changed)
	}
}

func TestWaitTellsHowTheJobEnded(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	s.registry.fail("example.com/closed", &importer.Error{Kind: importer.KindRegistryUnauthorized, Err: fmt.Errorf("who are you?")})
	var id uint64
	var path godbus.ObjectPath
	var answered, results map[string]godbus.Variant
	once := properties{"wait": true, "transaction-id": "once"}
	err := s.manage(conn, "Import", "docker://example.com/image", variants(once)).Store(&id, &path, &answered)
	if err != nil || path != jobPath(id) {
		t.Errorf("job %d at %s: %v", id, path, err)
	}
	var result string
	if err := conn.Object(BusName, path).Call(jobInterface+".Wait", 0).Store(&result, &results); err != nil {
		t.Fatal(err)
	}
	if result != "done" || results["already-present"].Value() != false {
		t.Errorf("result %q, %v", result, results)
	}
	if commit, _ := answered["commit"].Value().(string); len(commit) != 64 || !reflect.DeepEqual(answered, results) {
		t.Errorf("the call answered %v, Wait %v", answered, results)
	}
	delete(once, "wait")
	err = s.manage(conn, "Import", "docker://example.com/image", variants(once)).Store(&id, &path, &answered)
	if err != nil || !reflect.DeepEqual(answered, results) {
		t.Errorf("asked again without wait: %v, %v", answered, err)
	}
	err = s.manage(conn, "Import", "docker://example.com/closed", boolVariant("wait")).Err
	wantErrorName(t, err, errorPrefix+"RegistryUnauthorized")
	wantErrorName(t, s.wait(conn, jobPath(id+1)), errorPrefix+"RegistryUnauthorized")
	wantErrorName(t, s.manage(conn, "Prepare", "docker://example.com/closed", map[string]godbus.Variant{}).Err,
		errorPrefix+"RegistryUnauthorized")
}

func TestJobGoesOnWhenItsCallerLeaves(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	release := s.registry.block(t, "example.com/image")
	leaving, staying := s.connect(t), s.connect(t)
	signals := s.signals(t, staying)
	leaving.Object(BusName, rootPath).Go(managerInterface+".Import", 0, nil, "docker://example.com/image", boolVariant("wait"))
	awaitSignal(t, signals, "JobNew")
	leaving.Close()
	release()
	if finished := awaitSignal(t, signals, "JobFinished"); finished.Body[2] != "done" {
		t.Errorf("JobFinished is %v", finished)
	}
}

func TestEqualRequestsShareAJob(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	release := s.registry.block(t, "example.com/image")
	first, second := s.connect(t), s.connect(t)
	id, path := s.startImport(t, first, "docker://example.com/image", nil)
	sameID, _ := s.startImport(t, second, "docker://example.com/image", nil)
	otherID, other := s.startImport(t, second, "docker://example.com/image", boolVariant("no-imgref"))
	if sameID != id || otherID == id {
		t.Errorf("jobs %d, %d and %d", id, sameID, otherID)
	}
	wantErrorName(t, s.manage(second, "Import", "docker://example.com/third", boolVariant("no-queue")).Err, errorPrefix+"Busy")
	release()
	for _, conn := range []*godbus.Conn{first, second} {
		if err := s.wait(conn, path); err != nil {
			t.Error(err)
		}
	}
	if err := s.wait(second, other); err != nil {
		t.Error(err)
	}
	transaction := variants(properties{"transaction-id": "once"})
	id, path = s.startImport(t, first, "docker://example.com/image", transaction)
	if err := s.wait(first, path); err != nil {
		t.Error(err)
	}
	if again, _ := s.startImport(t, second, "docker://example.com/image", transaction); again != id {
		t.Errorf("the transaction is job %d, and again %d", id, again)
	}
}

func TestCancel(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.registry.block(t, "example.com/endless")
	conn := s.connect(t)
	for name, cancel := range map[string]func(id uint64, path godbus.ObjectPath) error{
		"Job.Cancel": func(_ uint64, path godbus.ObjectPath) error {
			return conn.Object(BusName, path).Call(jobInterface+".Cancel", 0).Err
		},
		"Manager.CancelJob": func(id uint64, _ godbus.ObjectPath) error { return s.manage(conn, "CancelJob", id).Err },
	} {
		id, path := s.startImport(t, conn, "docker://example.com/endless", nil)
		if err := cancel(id, path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		wantErrorName(t, s.wait(conn, path), errorPrefix+"Canceled")
		wantErrorName(t, cancel(id, path), errorPrefix+"NotCancellable")
	}
}

func TestPreparedObjects(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	signals := s.signals(t, conn)
	var path, job godbus.ObjectPath
	var state, digest string
	var layers uint32
	var bytes, id uint64
	err := s.manage(conn, "Prepare", "docker://example.com/image", variants(properties{"authfile": "/secret"})).
		Store(&path, &state, &digest, &layers, &bytes)
	if err != nil || state != stateReady || layers != 1 || bytes == 0 {
		t.Fatalf("%s, %d layers, %d bytes: %v", state, layers, bytes, err)
	}
	object := conn.Object(BusName, path)
	var text string
	if err := object.Call(preparedInterface+".Describe", 0).Store(&text); err != nil || strings.Contains(text, "secret") || !strings.Contains(text, digest) {
		t.Errorf("described as %s: %v", text, err)
	}
	var results map[string]godbus.Variant
	if err := object.Call(preparedInterface+".Import", 0, boolVariant("wait")).Store(&id, &job, &results); err != nil {
		t.Fatal(err)
	}
	if commit, _ := results["commit"].Value().(string); len(commit) != 64 {
		t.Errorf("the results are %v", results)
	}
	if first := awaitJobSignal(t, signals); first.Name != managerInterface+".JobNew" || first.Body[0] != id {
		t.Errorf("the first signal is %v, not that of the import", first)
	}
	wantErrorName(t, object.Call(preparedInterface+".Import", 0, boolVariant("no-imgref")).Err, errorPrefix+"InvalidOption")
	if err := object.Call(preparedInterface+".Discard", 0).Err; err != nil {
		t.Fatal(err)
	}
	if removed := awaitSignal(t, signals, "PreparedRemoved"); removed.Body[1] != path {
		t.Errorf("PreparedRemoved is %v", removed)
	}
	wantErrorName(t, object.Call(preparedInterface+".Discard", 0).Err, errUnknownObject)
}
