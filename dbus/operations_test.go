package dbus

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
	"github.com/ostree-importd/ostree-importd/ostreerepo"
	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// record is what the daemon wrote down of a job.
type record struct {
	Work struct {
		Type    daemon.JobType
		Request json.RawMessage
	}
}

func (s *suite) record(t *testing.T, id uint64) (r record) {
	t.Helper()
	text := readText(t, filepath.Join(s.stateDir, "jobs", fmt.Sprintf("%d.json", id)))
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOperationsReachTheManager: what a client is given is what the job is about, with every
// option.
func TestOperationsReachTheManager(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	client := s.client(t)
	// Nothing of what changes a repository runs while an import does, and the others fail.
	s.registry.block(t, "example.com/endless")
	s.startImport(t, s.connect(t), "docker://example.com/endless", nil)
	full := requests()
	request := func(method string) any { return full[method][0].request }
	tests := map[daemon.JobType]func(ctx context.Context, o daemon.JobOptions) (uint64, any, error){
		daemon.JobInit: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Init").(*importer.InitRequest)
			id, err := client.Init(ctx, r, o)
			return id, r, err
		},
		daemon.JobUnencapsulate: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Unencapsulate").(*importer.UnencapsulateRequest)
			r.Image = "dir:/dev"
			id, err := client.Unencapsulate(ctx, r, o)
			return id, r, err
		},
		daemon.JobEncapsulate: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Encapsulate").(*importer.EncapsulateRequest)
			r.Rev, r.Destination = "no/such/ref", "oci:/none/x"
			id, err := client.Encapsulate(ctx, r, o)
			return id, r, err
		},
		daemon.JobExport: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Export").(*importer.ExportRequest)
			r.Image, r.Destination = "docker://example.com/none", "oci:/none/x"
			id, err := client.Export(ctx, r, o)
			return id, r, err
		},
		daemon.JobCopy: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Copy").(*importer.CopyRequest)
			r.Image, r.Repository = "docker://example.com/x", "/none"
			id, err := client.Copy(ctx, r, o)
			return id, r, err
		},
		daemon.JobRemove: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("RemoveImages").(*importer.RemoveRequest)
			r.Images = []string{"docker://example.com/x", "docker://example.com/y"}
			id, err := client.Remove(ctx, r, o)
			return id, r, err
		},
		daemon.JobPrune: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Prune").(*importer.PruneRequest)
			id, err := client.Prune(ctx, r, o)
			return id, r, err
		},
		daemon.JobVerify: func(ctx context.Context, o daemon.JobOptions) (uint64, any, error) {
			r := *request("Verify").(*importer.VerifyRequest)
			id, err := client.Verify(ctx, r, o)
			return id, r, err
		},
	}
	for typ, ask := range tests {
		t.Run(string(typ), func(t *testing.T) {
			id, request, err := ask(t.Context(), daemon.JobOptions{TransactionID: string(typ)})
			if err != nil {
				t.Fatal(err)
			}
			want, err := json.Marshal(request)
			if err != nil {
				t.Fatal(err)
			}
			if r := s.record(t, id); r.Work.Type != typ || string(r.Work.Request) != string(want) {
				t.Errorf("%s of\n%s, want\n%s", r.Work.Type, r.Work.Request, want)
			}
			if status, err := client.Job(t.Context(), id); err != nil || status.Type != typ || status.TransactionID != string(typ) {
				t.Errorf("job %+v, %v", status, err)
			}
		})
	}
}

// TestLookupsReachTheManager: a comparison and a check for updates are jobs while they wait, and
// can be canceled.
func TestLookupsReachTheManager(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	client, conn := s.client(t), s.connect(t)
	if _, path := s.startImport(t, conn, "docker://example.com/image", nil); s.wait(conn, path) != nil {
		t.Fatal("no image")
	}
	image := imagePath("docker://example.com/image")
	for n := range 4 { // as many as look things up at once
		name := fmt.Sprintf("example.com/shut%d", n)
		reached := s.registry.shutUntilTheEnd(t, name)
		conn.Object(BusName, rootPath).Go(managerInterface+".Prepare", 0, nil, "docker://"+name, map[string]godbus.Variant{})
		<-reached
	}
	signals := s.signals(t, conn)
	full := requests()
	compare := *full["Compare"][0].request.(*importer.CompareRequest)
	compare.Image, compare.Other = "docker://example.com/image", "docker://example.com/other"
	decided := compare
	decided.OtherNotStored = true // the server decides on it: only the first image is stored
	check := *full["CheckUpdate"][0].request.(*importer.UpdateRequest)
	check.Image = "docker://example.com/image"
	tests := []struct {
		name    string
		typ     daemon.JobType
		request any
		ask     func(ctx context.Context) error
	}{
		{"Compare", daemon.JobCompare, decided, func(ctx context.Context) error {
			_, err := client.Compare(ctx, compare)
			return err
		}},
		{"CheckUpdate", daemon.JobCheckUpdate, check, func(ctx context.Context) error {
			_, err := client.CheckUpdate(ctx, check)
			return err
		}},
		{"Image.CheckUpdate", daemon.JobCheckUpdate, importer.UpdateRequest{Image: check.Image, Offline: true}, func(ctx context.Context) error {
			return fromCallError(conn.Object(BusName, image).CallWithContext(ctx, imageInterface+".CheckUpdate", 0, boolVariant("offline")).Err)
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			answer := make(chan error, 1)
			go func() { answer <- test.ask(t.Context()) }()
			id := s.awaitJob(t, conn, test.typ)
			want, err := json.Marshal(test.request)
			if err != nil {
				t.Fatal(err)
			}
			if r := s.record(t, id); r.Work.Type != test.typ || string(r.Work.Request) != string(want) {
				t.Errorf("%s of\n%s, want\n%s", r.Work.Type, r.Work.Request, want)
			}
			if err := s.manage(conn, "CancelJob", id).Err; err != nil {
				t.Error(err)
			}
			wantKind(t, receive(t, answer), importer.KindCanceled)
			wantErrorName(t, s.manage(conn, "GetJob", id).Err, errorPrefix+"NoSuchJob")
		})
	}
	// Nobody else hears of them.
	id, _ := s.startImport(t, conn, "docker://example.com/image:2", nil)
	if signal := awaitJobSignal(t, signals); signal.Name != managerInterface+".JobNew" || signal.Body[0] != id {
		t.Errorf("a look-up sent %v", signal)
	}
}

// awaitJob waits until there is a job of a type that has not finished, and returns its id.
func (s *suite) awaitJob(t *testing.T, conn *godbus.Conn, typ daemon.JobType) uint64 {
	t.Helper()
	for t.Context().Err() == nil {
		var jobs []listedJob
		if err := s.manage(conn, "ListJobs").Store(&jobs); err != nil {
			t.Fatal(err)
		}
		for _, job := range jobs {
			if job.Type == string(typ) && job.State != string(daemon.StateFinished) {
				return job.ID
			}
		}
	}
	t.Fatalf("there is no job of type %s", typ)
	return 0
}

func TestImageIsRemovedByItsObject(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	if _, path := s.startImport(t, conn, "docker://example.com/image", nil); s.wait(conn, path) != nil {
		t.Fatal("no image")
	}
	var id uint64
	var path godbus.ObjectPath
	var results map[string]godbus.Variant
	err := conn.Object(BusName, imagePath("docker://example.com/image")).Call(imageInterface+".Remove", 0, boolVariant("skip-gc")).
		Store(&id, &path, &results)
	if err != nil || path != jobPath(id) {
		t.Fatalf("job %d at %s: %v", id, path, err)
	}
	if r := s.record(t, id); r.Work.Type != daemon.JobRemove || string(r.Work.Request) != `{"images":["docker://example.com/image"],"skip-gc":true}` {
		t.Errorf("%s of %s", r.Work.Type, r.Work.Request)
	}
}

func TestArgumentsThatAreRefused(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	none := map[string]godbus.Variant{}
	tests := map[string]struct {
		method string
		args   []any
		name   string
	}{
		"scope":                {"Prune", []any{"objects", none}, errorPrefix + "InvalidOption"},
		"policy for layers":    {"Prune", []any{"layers", variants(properties{"keep-last": uint32(1)})}, errorPrefix + "InvalidOption"},
		"relative repository":  {"Copy", []any{"docker://x", "repo", none}, errorPrefix + "InvalidOption"},
		"relative destination": {"Export", []any{"docker://x", "tar:x", none}, errorPrefix + "InvalidOption"},
		"no destination":       {"Encapsulate", []any{"os", "", none}, errorPrefix + "InvalidOption"},
		"reference":            {"Unencapsulate", []any{"foo:", none}, errorPrefix + "InvalidReference"},
		"option of another":    {"RemoveImages", []any{[]string{"docker://x"}, boolVariant("dry-run")}, errorPrefix + "InvalidOption"},
		"wait of a lookup":     {"CheckUpdate", []any{"docker://x", boolVariant("wait")}, errorPrefix + "InvalidOption"},
		"signature":            {"Verify", []any{"docker://x", none}, errInvalidArgs},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			wantErrorName(t, s.manage(conn, test.method, test.args...).Err, test.name)
		})
	}
	if jobs := s.manager.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs were made: %v", jobs)
	}
}

// TestOperationsOnAStoredImage does them, as far as they need no program but ostree.
func TestOperationsOnAStoredImage(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	client, conn, ctx := s.client(t), s.connect(t), t.Context()
	const name = "docker://example.com/image:1"
	if _, path := s.startImport(t, conn, name, nil); s.wait(conn, path) != nil {
		t.Fatal("no image")
	}

	update, err := client.CheckUpdate(ctx, importer.UpdateRequest{Image: name})
	if err != nil || update.Available || !update.Stored || update.Reference != name {
		t.Errorf("update %+v, %v", update, err)
	}
	update, err = client.CheckUpdate(ctx, importer.UpdateRequest{Image: "docker://example.com/new:1"})
	if err != nil || !update.Available || update.Stored || update.Reference != "docker://example.com/new:1" || update.LayersToFetch != 1 {
		t.Errorf("update of an image that is not stored: %+v, %v", update, err)
	}
	comparison, err := client.Compare(ctx, importer.CompareRequest{Image: name})
	if err != nil || len(comparison.Kept) != 1 || len(comparison.Added) > 0 || comparison.From.Reference != name {
		t.Errorf("comparison %+v, %v", comparison, err)
	}
	verified := done[importer.VerifyResult](t, client)(client.Verify(ctx, importer.VerifyRequest{}, daemon.JobOptions{}))
	if verified.Count(importer.StateGood) != 1 || verified.Objects == 0 {
		t.Errorf("verified %+v", verified)
	}
	needs.Tool(t, "ostree")
	repo, err := ostreerepo.Create(ctx, filepath.Join(t.TempDir(), "copy"), ostreerepo.ModeArchive, ostreerepo.Options{})
	if err != nil {
		t.Fatal(err)
	}
	copied := done[importer.CopyResult](t, client)(client.Copy(ctx, importer.CopyRequest{
		Image: name, Repository: repo.Path(), Target: "docker://example.com/other",
	}, daemon.JobOptions{}))
	if commit, err := repo.Resolve(copied.ImageRef); err != nil || commit.String() != copied.Commit || copied.Reference != "docker://example.com/other" {
		t.Errorf("copied %+v, %v", copied, err)
	}

	signals := s.signals(t, conn)
	removed := done[importer.RemoveResult](t, client)(client.Remove(ctx, importer.RemoveRequest{Images: []string{name, "docker://none"}}, daemon.JobOptions{}))
	if len(removed.Removed) != 1 || len(removed.Missing) != 1 || removed.Collected == nil || removed.Collected.Layers != 1 {
		t.Errorf("removed %+v", removed)
	}
	awaitSignal(t, signals, "ImagesChanged")
	if images, err := client.Images(ctx); err != nil || len(images) > 0 {
		t.Errorf("images %+v, %v", images, err)
	}
	pruned := done[importer.PruneResult](t, client)(client.Prune(ctx, importer.PruneRequest{Scope: importer.PruneLayers, DryRun: true}, daemon.JobOptions{}))
	if !pruned.DryRun || pruned.Layers > 0 {
		t.Errorf("pruned %+v", pruned)
	}
}

// done waits for a job that was just begun, and takes its results.
func done[T any](t *testing.T, client *Client) func(id uint64, err error) *T {
	return func(id uint64, err error) *T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		status, err := client.Wait(t.Context(), id, nil)
		if err != nil {
			t.Fatal(err)
		}
		results, err := daemon.Results[T](status)
		if err != nil {
			t.Fatal(err)
		}
		return results
	}
}
