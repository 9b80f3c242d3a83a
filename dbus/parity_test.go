package dbus

import (
	"cmp"
	"encoding/xml"
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/importer"
)

const documentation = "../docs/dbus-api.md"

func readText(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// importerKinds are all kinds that are errors of this interface.
func importerKinds(t *testing.T) []importer.Kind {
	t.Helper()
	var kinds []importer.Kind
	for _, match := range regexp.MustCompile(`\n\tKind\w+ +Kind = "(\w+)"`).FindAllStringSubmatch(readText(t, "../importer/errors.go"), -1) {
		if kind := importer.Kind(match[1]); kind != importer.KindAccessDenied {
			kinds = append(kinds, kind)
		}
	}
	if len(kinds) < 20 {
		t.Fatalf("found only %d kinds", len(kinds))
	}
	return kinds
}

// ownSpecs are the interfaces of the shipped XML.
func ownSpecs() []*interfaceSpec {
	return slices.DeleteFunc(slices.Collect(maps.Values(interfaceSpecs())), func(spec *interfaceSpec) bool {
		return strings.HasPrefix(spec.Name, "org.freedesktop.DBus.")
	})
}

func TestEveryMethodHasAHandlerAndEveryHandlerAMethod(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	for name, spec := range interfaceSpecs() {
		if name == peerInterface { // godbus answers these
			continue
		}
		described := make(map[string]bool)
		for _, method := range spec.Methods {
			described[method.Name] = true
			if s.server.methods[name][method.Name] == nil {
				t.Errorf("%s.%s has no handler", name, method.Name)
			}
		}
		for method := range s.server.methods[name] {
			if !described[method] {
				t.Errorf("%s.%s is not described", name, method)
			}
		}
	}
}

func TestEveryPropertyHasAValueOfItsType(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	values := map[string]properties{
		managerInterface:    s.server.managerProperties(),
		logControlInterface: s.server.logControlProperties(),
		jobInterface:        jobProperties(daemon.JobStatus{}),
		preparedInterface:   preparedProperties(daemon.Prepared{}),
		imageInterface:      imageProperties(&importer.Image{}),
	}
	for _, spec := range ownSpecs() {
		described := make(map[string]bool)
		for _, property := range spec.Properties {
			described[property.Name] = true
			value, exists := values[spec.Name][property.Name]
			if !exists {
				t.Errorf("%s.%s has no value", spec.Name, property.Name)
			} else if got := godbus.SignatureOf(value).String(); got != property.Type {
				t.Errorf("%s.%s is of type %s, described as %s", spec.Name, property.Name, got, property.Type)
			}
			if (property.Access == "readwrite") != (s.server.setters[spec.Name][property.Name] != nil) {
				t.Errorf("%s.%s is %s", spec.Name, property.Name, property.Access)
			}
		}
		for name := range values[spec.Name] {
			if !described[name] {
				t.Errorf("%s.%s is not described", spec.Name, name)
			}
		}
	}
}

func TestBusPolicyAllowsTheInterfacesThatExist(t *testing.T) {
	var policy struct {
		Policies []struct {
			Allow []struct {
				Interface string `xml:"send_interface,attr"`
			} `xml:"allow"`
		} `xml:"policy"`
	}
	if err := xml.Unmarshal([]byte(readText(t, "org.ostree.import1.conf")), &policy); err != nil {
		t.Fatal(err)
	}
	var allowed []string
	for _, p := range policy.Policies {
		for _, allow := range p.Allow {
			if allow.Interface != "" {
				allowed = append(allowed, allow.Interface)
			}
		}
	}
	slices.Sort(allowed)
	if want := slices.Sorted(maps.Keys(interfaceSpecs())); !slices.Equal(allowed, want) {
		t.Errorf("the bus policy allows\n%q, there are\n%q", allowed, want)
	}
}

// allActions are all that are asked for, in the order of the policy.
var allActions = []string{
	actionInit, actionCheck, actionPrepare, actionImport, actionImportUntrusted, actionExport, actionRemove, actionPrune, actionVerify, actionCancel,
}

func TestPolkitPolicyHasTheActionsThatAreAskedFor(t *testing.T) {
	var policy struct {
		Actions []struct {
			ID string `xml:"id,attr"`
		} `xml:"action"`
	}
	if err := xml.Unmarshal([]byte(readText(t, "org.ostree.import1.policy")), &policy); err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, action := range policy.Actions {
		ids = append(ids, action.ID)
	}
	if !slices.Equal(ids, allActions) {
		t.Errorf("the policy has %q, asked for are %q", ids, allActions)
	}
}

func TestDocumentationNamesEverything(t *testing.T) {
	text := readText(t, documentation)
	want := func(what, name string) {
		if !regexp.MustCompile("`" + regexp.QuoteMeta(name) + `(\b|\W)`).MatchString(text) {
			t.Errorf("%s: the %s %s is missing", documentation, what, name)
		}
	}
	for _, spec := range ownSpecs() {
		want("interface", spec.Name)
		for _, method := range spec.Methods {
			want("method", method.Name)
		}
		for _, signal := range spec.Signals {
			want("signal", signal.Name)
		}
		for _, property := range spec.Properties {
			want("property", property.Name)
		}
	}
	var call callOptions
	options := call.options()
	for _, pair := range requests() {
		options = append(options, pair[0].options...)
	}
	for _, o := range options {
		want("option", o.name+"` | "+o.signature())
	}
	for _, feature := range features {
		want("feature", feature)
	}
	for _, kind := range importerKinds(t) {
		want("error", string(kind))
	}
	for _, action := range allActions {
		want("action", action)
	}
	standard := []string{errAccessDenied, errInteractionRequired, errInvalidArgs, errUnknownObject, errUnknownInterface,
		errUnknownMethod, errUnknownProperty, errPropertyReadOnly}
	for _, name := range standard {
		want("error", name[strings.LastIndexByte(name, '.')+1:])
	}
}

// TestDocumentedCallsFit: the commands, which the system test runs, give each method the arguments
// that it takes.
func TestDocumentedCallsFit(t *testing.T) {
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(readText(t, documentation))
	if block == nil {
		t.Fatal("there are no commands")
	}
	calls := regexp.MustCompile(`(?:manager|org\.ostree\.import1\.(\w+)) ([A-Z]\w+)(?: '?([a-z{}()]+)'?)?`)
	called := make(map[string]bool)
	for _, call := range calls.FindAllStringSubmatch(block[1], -1) {
		iface, method, given := cmp.Or(call[1], "Manager"), call[2], call[3]
		expected, exists := interfaceSpecs()[BusName+"."+iface].signature(method)
		if !exists {
			continue // a property
		}
		called[method] = true
		if given != expected {
			t.Errorf("%s is called with (%s), and takes (%s)", method, given, expected)
		}
	}
	for _, method := range interfaceSpecs()[managerInterface].Methods {
		switch method.Name {
		case "GetJob", "CancelJob", "DescribeJobs":
		default:
			if !called[method.Name] {
				t.Errorf("%s is not shown", method.Name)
			}
		}
	}
}

func TestEverythingDescribedIsServed(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	id, job := s.startImport(t, conn, "docker://example.com/image", nil)
	if err := s.wait(conn, job); err != nil {
		t.Fatalf("job %d: %v", id, err)
	}
	var prepared, image godbus.ObjectPath
	var state, digest string
	var layers uint32
	var bytes uint64
	err := s.manage(conn, "Prepare", "docker://example.com/image", map[string]godbus.Variant{}).
		Store(&prepared, &state, &digest, &layers, &bytes)
	if err != nil || state != stateAlreadyPresent {
		t.Fatalf("state %q: %v", state, err)
	}
	if err := s.manage(conn, "GetImage", "docker://example.com/image").Store(&image); err != nil {
		t.Fatal(err)
	}
	paths := map[string]godbus.ObjectPath{
		managerInterface: rootPath, jobInterface: job, preparedInterface: prepared, imageInterface: image,
		logControlInterface: logControlPath,
	}
	for _, spec := range ownSpecs() {
		object := conn.Object(BusName, paths[spec.Name])
		var text string
		if err := object.Call(introspectableInterface+".Introspect", 0).Store(&text); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(text, spec.Body) || !strings.Contains(Introspection(), spec.Body) {
			t.Errorf("%s is served as\n%s", spec.Name, text)
		}
		all := object.Call(propertiesInterface+".GetAll", 0, spec.Name)
		if all.Err != nil {
			t.Fatal(all.Err)
		}
		values := all.Body[0].(map[string]godbus.Variant)
		for _, property := range spec.Properties {
			single, err := object.GetProperty(spec.Name + "." + property.Name)
			if err != nil || !reflect.DeepEqual(single, values[property.Name]) || single.Signature().String() != property.Type {
				t.Errorf("%s.%s is %v alone (%v) and %v with all", spec.Name, property.Name, single, err, values[property.Name])
			}
		}
		checkResults(t, object, spec)
	}
}

// checkResults calls the methods without arguments that change nothing, and compares what they
// answer with the description.
func checkResults(t *testing.T, object godbus.BusObject, spec *interfaceSpec) {
	t.Helper()
	for _, method := range spec.Methods {
		signature, out := "", ""
		for _, arg := range method.Args {
			if arg.Direction == "in" {
				signature += arg.Type
			} else {
				out += arg.Type
			}
		}
		if signature != "" || out == "" {
			continue
		}
		call := object.Call(spec.Name+"."+method.Name, 0)
		if call.Err != nil {
			t.Errorf("%s.%s: %v", spec.Name, method.Name, call.Err)
		} else if got := bodySignature(call.Body); got != out {
			t.Errorf("%s.%s answers %s, described as %s", spec.Name, method.Name, got, out)
		}
	}
}

// bodySignature is the signature of values as godbus decodes them: structs become []any.
func bodySignature(body []any) (signature string) {
	for _, value := range body {
		signature += valueSignature(reflect.ValueOf(value))
	}
	return signature
}

func valueSignature(value reflect.Value) string {
	if value.Type() == reflect.TypeFor[[][]any]() {
		if value.Len() == 0 {
			return "a(?)"
		}
		return "a(" + bodySignature(value.Index(0).Interface().([]any)) + ")"
	}
	return godbus.SignatureOfType(value.Type()).String()
}
