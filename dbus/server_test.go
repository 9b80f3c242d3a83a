package dbus

import (
	"encoding/xml"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	godbus "github.com/godbus/dbus/v5"
	"github.com/godbus/dbus/v5/introspect"
	"github.com/sirupsen/logrus"
)

func TestIntrospectionShowsTheTree(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	_, job := s.startImport(t, conn, "docker://example.com/image:1", nil)
	if err := s.wait(conn, job); err != nil {
		t.Fatal(err)
	}
	tests := map[godbus.ObjectPath]struct {
		iface    string
		children []string
	}{
		"/":                {"", []string{"org"}},
		"/org":             {"", []string{"freedesktop", "ostree"}},
		"/org/freedesktop": {"", []string{"LogControl1"}},
		logControlPath:     {logControlInterface, nil},
		rootPath:           {managerInterface, []string{"image", "job", "prepared"}},
		jobsPath:           {"", []string{"_1"}},
		preparedsPath:      {"", nil},
		imagesPath:         {"", []string{"docker_3a_2f_2fexample_2ecom_2fimage_3a1"}},
		job:                {jobInterface, nil},
		imagesPath + "/docker_3a_2f_2fexample_2ecom_2fimage_3a1": {imageInterface, nil},
	}
	for path, want := range tests {
		var text string
		if err := conn.Object(BusName, path).Call(introspectableInterface+".Introspect", 0).Store(&text); err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		var node introspect.Node
		if err := xml.Unmarshal([]byte(text), &node); err != nil {
			t.Fatalf("%s: %v in\n%s", path, err, text)
		}
		interfaces := []string{peerInterface, introspectableInterface, propertiesInterface}
		if want.iface != "" {
			interfaces = append(interfaces, want.iface)
		}
		if path == rootPath {
			interfaces = append(interfaces, objectManagerInterface)
		}
		var gotInterfaces, gotChildren []string
		for _, i := range node.Interfaces {
			gotInterfaces = append(gotInterfaces, i.Name)
		}
		for _, child := range node.Children {
			gotChildren = append(gotChildren, child.Name)
		}
		if !slices.Equal(gotInterfaces, interfaces) || !slices.Equal(gotChildren, want.children) {
			t.Errorf("%s has %q and %q, want %q and %q", path, gotInterfaces, gotChildren, interfaces, want.children)
		}
	}
}

func TestAnImageHasOnePath(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	_, job := s.startImport(t, conn, "docker://example.com/image:1", nil)
	if err := s.wait(conn, job); err != nil {
		t.Fatal(err)
	}
	const another = "ostree-unverified-registry:example.com/image:1"
	var path godbus.ObjectPath
	if err := s.manage(conn, "GetImage", another).Store(&path); err != nil || path != imagePath("docker://example.com/image:1") {
		t.Errorf("path %s, %v", path, err)
	}
	wantErrorName(t, conn.Object(BusName, imagePath(another)).Call(imageInterface+".Describe", 0).Err, errUnknownObject)
}

func TestWrongCallsGetStandardErrors(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	none := map[string]godbus.Variant{}
	get, set := propertiesInterface+".Get", propertiesInterface+".Set"
	tests := []struct {
		path   godbus.ObjectPath
		method string
		args   []any
		want   string
	}{
		{rootPath + "/none", introspectableInterface + ".Introspect", nil, errUnknownObject},
		{"/com/example", introspectableInterface + ".Introspect", nil, errUnknownObject},
		{rootPath + "/job/_77", jobInterface + ".Cancel", nil, errUnknownObject},
		{rootPath + "/job/77", jobInterface + ".Cancel", nil, errUnknownObject},
		{rootPath + "/job/_1/x", jobInterface + ".Cancel", nil, errUnknownObject},
		{rootPath + "/prepared/_77", preparedInterface + ".Discard", nil, errUnknownObject},
		{rootPath + "/image/_", imageInterface + ".Describe", nil, errUnknownObject},
		{rootPath + "/image/none", imageInterface + ".Describe", nil, errUnknownObject},
		{rootPath + "/image/docker_3a_2f_2fx", imageInterface + ".Describe", nil, errUnknownObject},
		{rootPath, jobInterface + ".Cancel", nil, errUnknownInterface},
		{jobsPath, managerInterface + ".ListJobs", nil, errUnknownInterface},
		{rootPath, managerInterface + ".ListJob", nil, errUnknownMethod},
		{rootPath, peerInterface + ".Pong", nil, errUnknownMethod},
		{rootPath, managerInterface + ".ListJobs", []any{"x"}, errInvalidArgs},
		{rootPath, managerInterface + ".GetJob", []any{uint32(1)}, errInvalidArgs},
		{rootPath, managerInterface + ".GetJob", nil, errInvalidArgs},
		{rootPath, managerInterface + ".Import", []any{"docker://example.com/x"}, errInvalidArgs},
		{rootPath, managerInterface + ".GetJob", []any{uint64(77)}, errorPrefix + "NoSuchJob"},
		{rootPath, managerInterface + ".CancelJob", []any{uint64(77)}, errorPrefix + "NoSuchJob"},
		{rootPath, managerInterface + ".GetImage", []any{"docker://example.com/none"}, errorPrefix + "NoSuchImage"},
		{rootPath, managerInterface + ".GetImage", []any{"no reference"}, errorPrefix + "InvalidReference"},
		{rootPath, managerInterface + ".Import", []any{"docker://example.com/x", boolVariant("fast")}, errorPrefix + "InvalidOption"},
		{rootPath, managerInterface + ".Prepare", []any{"docker://example.com/x", boolVariant("wait")}, errorPrefix + "InvalidOption"},
		{rootPath, managerInterface + ".Prepare", []any{"no reference", none}, errorPrefix + "InvalidReference"},
		{rootPath, get, []any{managerInterface, "None"}, errUnknownProperty},
		{rootPath, get, []any{peerInterface, "None"}, errUnknownProperty},
		{rootPath, get, []any{jobInterface, "Id"}, errUnknownInterface},
		{rootPath, propertiesInterface + ".GetAll", []any{"com.example.None"}, errUnknownInterface},
		{rootPath, set, []any{managerInterface, "None", godbus.MakeVariant("x")}, errUnknownProperty},
		{rootPath, set, []any{managerInterface, "Version", godbus.MakeVariant("x")}, errPropertyReadOnly},
		{rootPath, set, []any{jobInterface, "Id", godbus.MakeVariant(uint64(1))}, errUnknownInterface},
		{logControlPath, set, []any{logControlInterface, "LogTarget", godbus.MakeVariant("x")}, errPropertyReadOnly},
		{logControlPath, set, []any{logControlInterface, "LogLevel", godbus.MakeVariant(uint32(7))}, errInvalidArgs},
		{logControlPath, set, []any{logControlInterface, "LogLevel", godbus.MakeVariant("loud")}, errInvalidArgs},
	}
	for _, test := range tests {
		err := conn.Object(BusName, test.path).Call(test.method, 0, test.args...).Err
		if got := errorNameOf(err); got != test.want {
			t.Errorf("%s on %s %v: %s (%v), want %s", test.method, test.path, test.args, got, err, test.want)
		}
	}
}

func TestCallsWithoutInterface(t *testing.T) {
	// The bus policy lets no such call through, but a bus without it would.
	s := newSuite(t, suiteOptions{noHammer: true})
	if _, err := s.server.dispatch(&call{ctx: t.Context(), path: rootPath, member: "ListJobs"}, ""); err != nil {
		t.Error(err)
	}
	_, err := s.server.dispatch(&call{ctx: t.Context(), path: rootPath, member: "None"}, "")
	if reply := toBusError(err); reply.Name != errUnknownMethod {
		t.Errorf("error %v", err)
	}
}

func TestPeer(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	object := s.connect(t).Object(BusName, rootPath)
	if err := object.Call(peerInterface+".Ping", 0).Err; err != nil {
		t.Error(err)
	}
}

func TestPanicInAHandlerIsAnErrorOfItsCall(t *testing.T) {
	log := logrus.New()
	log.SetOutput(t.Output())
	s := &Server{calls: newCallTracker(), log: log, methods: map[string]map[string]handler{
		introspectableInterface: {"Introspect": func(*call) ([]any, error) { panic("at the disco") }},
	}}
	_, failure := s.handle(t.Context(), &godbus.Message{Headers: map[godbus.HeaderField]godbus.Variant{
		godbus.FieldPath:      godbus.MakeVariant(logControlPath),
		godbus.FieldInterface: godbus.MakeVariant(introspectableInterface),
		godbus.FieldMember:    godbus.MakeVariant("Introspect"),
	}}, nil)
	if failure == nil || failure.Name != errorPrefix+"Failed" || strings.Contains(failure.Error(), "disco") {
		t.Errorf("the caller is told %v", failure)
	}
}

func TestMalformedCallsLeaveNothingBehind(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	before := openFiles(t)
	for n := range 250 {
		for _, call := range []*godbus.Call{
			conn.Object(BusName, rootPath).Call(managerInterface+".None", 0, n),
			conn.Object(BusName, rootPath).Call(managerInterface+".Import", 0, n),
			conn.Object(BusName, rootPath+"/none").Call("com.example.None", 0),
			conn.Object(BusName, rootPath).Call(managerInterface+".Import", 0, "docker://example.com/x", boolVariant("x")),
		} {
			if call.Err == nil {
				t.Fatal("no error")
			}
		}
		conn.Object(BusName, rootPath).Call(managerInterface+".None", godbus.FlagNoReplyExpected)
	}
	if err := s.manage(conn, "ListJobs").Err; err != nil {
		t.Fatal(err)
	}
	if after := openFiles(t); after > before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func TestDescriptorsThatNobodyReadsAreClosed(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn, err := godbus.Connect(s.address, godbus.WithAuth(godbus.AuthExternal("0")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	before := openFiles(t)
	for range 50 {
		err := conn.Object(BusName, rootPath).Call(managerInterface+".None", 0, godbus.UnixFD(0)).Err
		wantErrorName(t, err, errUnknownMethod)
	}
	after := openFiles(t)
	for began := time.Now(); after > before && time.Since(began) < testTimeout; after = openFiles(t) {
		if err := s.manage(conn, "ListJobs").Err; err != nil { // nobody waits for the closing
			t.Fatal(err)
		}
	}
	if after > before {
		t.Errorf("%d open files before, %d after", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

func TestLogLevel(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	object := s.connect(t).Object(BusName, logControlPath)
	for level, want := range map[string]logrus.Level{"debug": logrus.DebugLevel, "err": logrus.ErrorLevel, "info": logrus.InfoLevel} {
		if err := object.SetProperty(logControlInterface+".LogLevel", level); err != nil {
			t.Fatal(err)
		}
		got, err := object.GetProperty(logControlInterface + ".LogLevel")
		if err != nil || got.Value() != level || s.server.log.GetLevel() != want {
			t.Errorf("level %v (%v), logger %s, want %s", got, err, s.server.log.GetLevel(), level)
		}
	}
	denied := s.connectAs(t, nobody).Object(BusName, logControlPath).SetProperty(logControlInterface+".LogLevel", "debug")
	wantErrorName(t, denied, errAccessDenied)
}
