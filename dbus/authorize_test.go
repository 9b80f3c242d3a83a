package dbus

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"
)

func yes(polkitCheck) (bool, bool, *godbus.Error) { return true, false, nil }
func no(polkitCheck) (bool, bool, *godbus.Error)  { return false, false, nil }

// password wants one: who may be asked gives it.
func password(check polkitCheck) (bool, bool, *godbus.Error) {
	return check.flags&polkitAllowInteraction != 0, true, nil
}

func broken(polkitCheck) (bool, bool, *godbus.Error) {
	return false, false, godbus.NewError("org.freedesktop.PolicyKit1.Error.Failed", []any{"out of order"})
}

// allDetails are the details of a question to polkit: those that are given, and the others empty.
func allDetails(given map[string]string) map[string]string {
	all := make(map[string]string)
	for _, name := range detailNames {
		all[name] = given[name]
	}
	maps.Copy(all, given)
	return all
}

func TestWhatTakesWhichAuthorization(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	polkit := s.startPolkit(t, no)
	conn := s.connectAs(t, nobody)
	none := properties{}
	tests := map[string]struct {
		method  string
		image   string
		options properties
		action  string
		details map[string]string
	}{
		"import": {"Import", "docker://example.com/x:1", none, actionImport,
			map[string]string{"image": "docker://example.com/x:1", "transport": "registry", "options": ""}},
		"another form": {"Import", "ostree-unverified-registry:example.com/x:1", properties{"jobs": uint32(2), "no-queue": true}, actionImport,
			map[string]string{"image": "docker://example.com/x:1", "transport": "registry", "options": "jobs,no-queue"}},
		"prepare": {"Prepare", "docker://example.com/x", none, actionPrepare,
			map[string]string{"image": "docker://example.com/x", "transport": "registry", "options": ""}},
		"a directory": {"Import", "oci:/root/images", none, actionImportUntrusted,
			map[string]string{"image": "oci:/root/images", "transport": "oci", "options": ""}},
		"prepare a directory": {"Prepare", "dir:/root", none, actionImportUntrusted,
			map[string]string{"image": "dir:/root", "transport": "dir", "options": ""}},
		"another name": {"Import", "docker://example.com/x", properties{"target-image": "docker://example.com/y"}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/x", "transport": "registry", "options": "target-image", "target": "docker://example.com/y"}},
		"authfile":     {"Import", "docker://example.com/x", properties{"authfile": "/root/auth"}, actionImportUntrusted, nil},
		"anonymous":    {"Import", "docker://example.com/x", properties{"auth-anonymous": true}, actionImportUntrusted, nil},
		"certificates": {"Prepare", "docker://example.com/x", properties{"cert-dir": "/root"}, actionImportUntrusted, nil},
		"insecure":     {"Import", "docker://example.com/x", properties{"insecure-skip-tls-verification": true}, actionImportUntrusted, nil},
		"reused":       {"Import", "docker://example.com/x", properties{"reuse-foreign-layers": true}, actionImportUntrusted, nil},
		"not reused":   {"Prepare", "docker://example.com/x", properties{"reuse-foreign-layers": false}, actionPrepare, nil},
		"keys":         {"Import", "docker://example.com/x", properties{"decryption-keys": []string{"/root/key"}}, actionImportUntrusted, nil},
		"limits":       {"Import", "docker://example.com/x", properties{"offline": true, "require-bootable": true, "arch": "arm64", "skip-gc": true}, actionImport, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := len(polkit.asked())
			err := s.manage(conn, test.method, test.image, variants(test.options)).Err
			wantErrorName(t, err, errAccessDenied)
			checks := polkit.asked()[before:]
			if len(checks) != 1 || checks[0].action != test.action || checks[0].flags != 0 {
				t.Fatalf("polkit was asked %+v, want %s", checks, test.action)
			}
			if want := allDetails(test.details); test.details != nil && !maps.Equal(checks[0].details, want) {
				t.Errorf("the details are %v, want %v", checks[0].details, want)
			}
			subject := checks[0].subject
			if subject.Kind != "system-bus-name" || subject.Details["name"].Value() != conn.Names()[0] {
				t.Errorf("the subject is %v", subject)
			}
		})
	}
	if jobs := s.manager.Jobs(); len(jobs) > 0 {
		t.Errorf("jobs were made: %v", jobs)
	}
}

func TestWhatOperationsTakeWhichAuthorization(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	polkit := s.startPolkit(t, no)
	conn, root := s.connectAs(t, nobody), s.connect(t)
	if _, path := s.startImport(t, root, "docker://example.com/stored", nil); s.wait(root, path) != nil {
		t.Fatal("no image")
	}
	type args = []any
	two := []string{"docker://example.com/x", "ostree-unverified-registry:example.com/y"}
	tests := map[string]struct {
		method  string
		args    args
		options properties
		action  string
		details map[string]string
	}{
		"init": {"Init", nil, properties{"mode": "archive"}, actionInit, map[string]string{}},
		"unencapsulate": {"Unencapsulate", args{"docker://example.com/x"}, nil, actionImport,
			map[string]string{"image": "docker://example.com/x", "transport": "registry"}},
		"unencapsulate under a name": {"Unencapsulate", args{"docker://example.com/x"}, properties{"write-ref": "os"}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/x", "transport": "registry", "target": "os"}},
		"unencapsulate a file": {"Unencapsulate", args{"oci:/root/x"}, nil, actionImportUntrusted,
			map[string]string{"image": "oci:/root/x", "transport": "oci"}},
		"encapsulate": {"Encapsulate", args{"os/stable", "docker://example.com/x"}, nil, actionExport,
			map[string]string{"image": "os/stable", "destination": "docker://example.com/x"}},
		"export": {"Export", args{"ostree-unverified-registry:example.com/x", "tar:/x"}, nil, actionExport,
			map[string]string{"image": "docker://example.com/x", "destination": "tar:/x"}},
		"copy": {"Copy", args{"docker://example.com/x", "/r"}, properties{"target-image": "docker://y"}, actionExport,
			map[string]string{"image": "docker://example.com/x", "destination": "/r"}},
		"remove": {"RemoveImages", args{two[1:]}, properties{"skip-gc": true}, actionRemove, map[string]string{"image": "docker://example.com/y"}},
		"remove two": {"RemoveImages", args{two}, nil, actionRemove,
			map[string]string{"images": "docker://example.com/x\ndocker://example.com/y"}},
		"remove by a broken name": {"RemoveImages", args{[]string{"foo:"}}, nil, actionRemove, map[string]string{"image": "foo:"}},
		"prune":                   {"Prune", args{"layers"}, properties{"dry-run": true}, actionPrune, map[string]string{"scope": "layers"}},
		"verify":                  {"Verify", args{two[:1]}, nil, actionVerify, map[string]string{"image": "docker://example.com/x"}},
		"verify all":              {"Verify", args{[]string{}}, nil, actionVerify, map[string]string{}},
		"repair":                  {"Verify", args{two[:1]}, properties{"repair": true}, actionImport, map[string]string{"image": "docker://example.com/x"}},
		"repair, other access": {"Verify", args{two[:1]}, properties{"repair": true, "auth-anonymous": true}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/x"}},
		"compare": {"Compare", args{"docker://example.com/x", ""}, properties{"files": true}, actionCheck, map[string]string{"image": "docker://example.com/x"}},
		"compare, not stored": {"Compare", args{"docker://example.com/none", "docker://example.com/none"}, nil, actionPrepare,
			map[string]string{"image": "docker://example.com/none", "transport": "registry"}},
		"compare, neither stored nor in a registry": {"Compare", args{"oci:/srv/none", "oci:/srv/none"}, nil, actionImportUntrusted,
			map[string]string{"image": "oci:/srv/none", "transport": "oci"}},
		"compare, other access": {"Compare", args{"docker://example.com/x", ""}, properties{"authfile": "/a"}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/x"}},
		"check": {"CheckUpdate", args{"docker://example.com/stored"}, nil, actionCheck, map[string]string{"image": "docker://example.com/stored"}},
		"check, other access": {"CheckUpdate", args{"docker://example.com/stored"}, properties{"insecure-skip-tls-verification": true}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/stored"}},
		"check what is not stored": {"CheckUpdate", args{"docker://example.com/x"}, nil, actionPrepare,
			map[string]string{"image": "docker://example.com/x", "transport": "registry"}},
		"check a directory that is not stored": {"CheckUpdate", args{"oci:/root/x"}, nil, actionImportUntrusted,
			map[string]string{"image": "oci:/root/x", "transport": "oci"}},
		"check what is not stored, other access": {"CheckUpdate", args{"docker://example.com/x"}, properties{"auth-anonymous": true}, actionImportUntrusted,
			map[string]string{"image": "docker://example.com/x", "transport": "registry"}},
		"check offline what is not stored": {"CheckUpdate", args{"docker://example.com/x"}, properties{"offline": true}, actionCheck,
			map[string]string{"image": "docker://example.com/x"}},
		"check an object":  {"Image.CheckUpdate", nil, nil, actionCheck, map[string]string{"image": "docker://example.com/stored"}},
		"remove an object": {"Image.Remove", nil, nil, actionRemove, map[string]string{"image": "docker://example.com/stored"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			before := len(polkit.asked())
			object, method := conn.Object(BusName, rootPath), managerInterface+"."+test.method
			if rest, ofImage := strings.CutPrefix(test.method, "Image."); ofImage {
				object, method = conn.Object(BusName, imagePath("docker://example.com/stored")), imageInterface+"."+rest
			}
			err := object.Call(method, 0, append(test.args, variants(test.options))...).Err
			wantErrorName(t, err, errAccessDenied)
			checks := polkit.asked()[before:]
			if len(checks) != 1 || checks[0].action != test.action {
				t.Fatalf("polkit was asked %+v, want %s", checks, test.action)
			}
			test.details["options"] = strings.Join(slices.Sorted(maps.Keys(test.options)), ",")
			if want := allDetails(test.details); !maps.Equal(checks[0].details, want) {
				t.Errorf("the details are %v, want %v", checks[0].details, want)
			}
		})
	}
	if jobs := s.manager.Jobs(); len(jobs) != 1 {
		t.Errorf("jobs were made: %v", jobs)
	}
}

func TestAnswersOfPolkit(t *testing.T) {
	tests := map[string]struct {
		answer      func(polkitCheck) (bool, bool, *godbus.Error) // nil: there is no polkit
		interactive bool
		want        string // "" for success
	}{
		"yes":                      {yes, false, ""},
		"no":                       {no, false, errAccessDenied},
		"no, whoever asks":         {no, true, errAccessDenied},
		"password, nobody to ask":  {password, false, errInteractionRequired},
		"password given":           {password, true, ""},
		"polkit fails":             {broken, false, errAccessDenied},
		"polkit is absent":         {nil, false, errAccessDenied},
		"password, dialog refused": {func(polkitCheck) (bool, bool, *godbus.Error) { return false, true, nil }, true, errAccessDenied},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			s := newSuite(t, suiteOptions{})
			if test.answer != nil {
				s.startPolkit(t, test.answer)
			}
			conn := s.connectAs(t, nobody)
			msg := &godbus.Message{
				Type: godbus.TypeMethodCall,
				Headers: map[godbus.HeaderField]godbus.Variant{
					godbus.FieldDestination: godbus.MakeVariant(BusName),
					godbus.FieldPath:        godbus.MakeVariant(rootPath),
					godbus.FieldInterface:   godbus.MakeVariant(managerInterface),
					godbus.FieldMember:      godbus.MakeVariant("Import"),
					godbus.FieldSignature:   godbus.MakeVariant(godbus.ParseSignatureMust("sa{sv}")),
				},
				Body: []any{"docker://example.com/image", boolVariant("wait")},
			}
			if test.interactive {
				msg.Flags = godbus.FlagAllowInteractiveAuthorization
			}
			err := receive(t, conn.Send(msg, nil).Done).Err
			if test.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			wantErrorName(t, err, test.want)
		})
	}
}

func TestReadingTakesNoAuthorization(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	_, path := s.startImport(t, s.connect(t), "docker://example.com/image", nil)
	conn := s.connectAs(t, nobody)
	for _, err := range []error{
		s.wait(conn, path),
		s.manage(conn, "ListJobs").Err,
		s.manage(conn, "ListImages").Err,
		s.manage(conn, "DescribeImages").Err,
		s.manage(conn, "GetImage", "docker://example.com/image").Err,
		conn.Object(BusName, path).Call(propertiesInterface+".GetAll", 0, jobInterface).Err,
	} {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestCancelOfOthersJobsTakesAuthorization(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.registry.block(t, "example.com/endless")
	allowImport := func(check polkitCheck) (bool, bool, *godbus.Error) { return check.action == actionImport, false, nil }
	polkit := s.startPolkit(t, allowImport)
	root, other, third := s.connect(t), s.connectAs(t, nobody), s.connectAs(t, somebody)

	id, path := s.startImport(t, root, "docker://example.com/endless", nil)
	wantErrorName(t, s.manage(other, "CancelJob", id).Err, errAccessDenied)
	wantErrorName(t, other.Object(BusName, path).Call(jobInterface+".Cancel", 0).Err, errAccessDenied)
	checks := polkit.asked()
	want := allDetails(map[string]string{"job": fmt.Sprint(id), "type": "import", "image": "docker://example.com/endless"})
	if len(checks) != 2 || checks[0].action != actionCancel || !maps.Equal(checks[0].details, want) {
		t.Errorf("polkit was asked %+v", checks)
	}
	if err := s.manage(root, "CancelJob", id).Err; err != nil {
		t.Error(err)
	}
	wantErrorName(t, s.wait(root, path), errorPrefix+"Canceled")

	id, path = s.startImport(t, other, "docker://example.com/endless", nil)
	wantErrorName(t, s.manage(third, "CancelJob", id).Err, errAccessDenied)
	if err := s.manage(other, "CancelJob", id).Err; err != nil {
		t.Errorf("one's own job: %v", err)
	}
	wantErrorName(t, s.wait(other, path), errorPrefix+"Canceled")
}

// TestSharedJobIsCanceledByAll: who joins a job is not at the mercy of who started it.
func TestSharedJobIsCanceledByAll(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.registry.block(t, "example.com/endless")
	s.startPolkit(t, func(check polkitCheck) (bool, bool, *godbus.Error) {
		return check.action == actionImport, false, nil
	})
	root, other := s.connect(t), s.connectAs(t, nobody)
	id, path := s.startImport(t, other, "docker://example.com/endless", nil)
	if joined, _ := s.startImport(t, root, "docker://example.com/endless", nil); joined != id {
		t.Fatalf("job %d is not %d", joined, id)
	}
	if err := s.manage(other, "CancelJob", id).Err; err != nil {
		t.Error(err)
	}
	wantErrorName(t, s.manage(other, "CancelJob", id).Err, errAccessDenied)
	if status := mustStatus(t, s.client(t), id); !status.Cancellable {
		t.Errorf("root's job is %s", status.State)
	}
	if err := s.manage(root, "CancelJob", id).Err; err != nil {
		t.Error(err)
	}
	wantErrorName(t, s.wait(root, path), errorPrefix+"Canceled")
}

func TestCallerIsRecorded(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	s.startPolkit(t, yes)
	id, _ := s.startImport(t, s.connectAs(t, nobody), "docker://example.com/image", nil)
	status, err := s.client(t).Job(t.Context(), id)
	if err != nil || status.CallerUID != nobody || status.CallerUnit != unitOf(uint32(os.Getpid())) {
		t.Errorf("%+v, %v", status, err)
	}
}

func TestUnitOfProcess(t *testing.T) {
	for group, want := range map[string]string{
		"0::/system.slice/cron.service\n":                                          "cron.service",
		"0::/user.slice/user-0.slice/session-3.scope\n":                            "session-3.scope",
		"0::/system.slice/docker.service/payload\n":                                "docker.service",
		"12:cpu:/\n1:name=systemd:/system.slice/cron.service\n0::/\n":              "cron.service",
		"0::/user.slice/user-1.slice/user@1.service/app.slice/app-term-12.scope\n": "app-term-12.scope",
		"0::/init.scope\n": "init.scope",
		"0::/\n":           "",
		"":                 "",
	} {
		if got := unitOfGroups(group); got != want {
			t.Errorf("unitOfGroups(%q) = %q, want %q", group, got, want)
		}
	}
}

// TestImportOfAPlanTakesItsOptions has somebody import and discard what somebody else has prepared.
func TestImportOfAPlanTakesItsOptions(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	polkit := s.startPolkit(t, no)
	root, conn := s.connect(t), s.connectAs(t, nobody)
	image := "docker://example.com/image"
	for name, test := range map[string]struct {
		prepared properties
		call     properties
		action   string // of an import
		details  map[string]string
	}{
		"nothing": {nil, nil, actionImport, map[string]string{"options": ""}},
		"the plan's": {
			properties{"authfile": "/root/auth.json", "offline": false, "jobs": uint32(3), "transaction-id": "mine"}, nil, actionImportUntrusted,
			map[string]string{"options": "authfile,jobs"},
		},
		"both": {
			properties{"insecure-skip-tls-verification": true, "skip-gc": true, "drop-special-files": true},
			properties{"no-queue": true, "wait": true}, actionImportUntrusted,
			map[string]string{"options": "drop-special-files,insecure-skip-tls-verification,no-queue,skip-gc,wait"},
		},
		"another name": {
			properties{"target-image": "docker://example.com/other", "arch": "arm64"}, nil, actionImportUntrusted,
			map[string]string{"options": "arch,target-image", "target": "docker://example.com/other"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if test.prepared["arch"] != nil {
				test.prepared["arch"] = runtime.GOARCH
			}
			var path godbus.ObjectPath
			prepared := s.manage(root, "Prepare", image, variants(test.prepared))
			if prepared.Err != nil || godbus.Store(prepared.Body[:1], &path) != nil {
				t.Fatal(prepared.Err)
			}
			test.details["image"], test.details["transport"] = image, "registry"
			for _, step := range []struct {
				method  string
				args    []any
				action  string
				details map[string]string
			}{
				{"Import", []any{variants(test.call)}, test.action, test.details},
				{"Discard", nil, cmp.Or(map[string]string{actionImport: actionPrepare}[test.action], test.action), nil},
			} {
				before := len(polkit.asked())
				wantErrorName(t, conn.Object(BusName, path).Call(preparedInterface+"."+step.method, 0, step.args...).Err, errAccessDenied)
				checks := polkit.asked()[before:]
				if len(checks) != 1 || checks[0].action != step.action {
					t.Fatalf("%s: polkit was asked %+v, want %s", step.method, checks, step.action)
				}
				if want := allDetails(step.details); step.details != nil && !maps.Equal(checks[0].details, want) {
					t.Errorf("%s: the details are %v, want %v", step.method, checks[0].details, want)
				}
			}
		})
	}
}

// TestDocumentedDetailsAreSent holds the tables of the documentation and of the policy's comment
// together with the code.
func TestDocumentedDetailsAreSent(t *testing.T) {
	_, section, _ := strings.Cut(readText(t, documentation), "\n## Authorization\n")
	section, _, _ = strings.Cut(section, "\n## ")
	_, section, _ = strings.Cut(section, "\nRules see")
	section, _, _ = strings.Cut(section, "```")
	comment, _, _ := strings.Cut(readText(t, "org.ostree.import1.policy"), "<policyconfig>")
	for _, name := range detailNames {
		if !strings.Contains(section, "`"+name+"`") {
			t.Errorf("%s does not tell of the detail %s", documentation, name)
		}
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(comment) {
			t.Errorf("the policy's comment does not tell of the detail %s", name)
		}
	}
}
