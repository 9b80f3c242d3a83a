package dbus

import (
	"maps"
	"os/exec"
	"reflect"
	"slices"
	"testing"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

// managed calls GetManagedObjects.
func (s *suite) managed(t *testing.T, conn *godbus.Conn) map[godbus.ObjectPath]managedInterfaces {
	t.Helper()
	var objects map[godbus.ObjectPath]managedInterfaces
	call := conn.Object(BusName, rootPath).Call(objectManagerInterface+".GetManagedObjects", 0)
	if err := call.Store(&objects); err != nil {
		t.Fatal(err)
	}
	return objects
}

// TestObjectManager: what its signals tell leads to what it answers, and that is what the objects
// say.
func TestObjectManager(t *testing.T) {
	s := newSuite(t, suiteOptions{})
	conn := s.connect(t)
	known := s.managed(t, conn)
	if len(known) > 0 {
		t.Errorf("at first there are %v", known)
	}
	signals := s.signals(t, conn)
	const name, other = "docker://example.com/image", "docker://example.com/other"
	_, first := s.startImport(t, conn, name, nil)
	_ = s.wait(conn, first)
	_, second := s.startImport(t, conn, other, nil)
	_ = s.wait(conn, second)
	if err := s.manage(conn, "Prepare", name, map[string]godbus.Variant{}).Err; err != nil {
		t.Fatal(err)
	}
	remove := s.manage(conn, "RemoveImages", []string{other}, boolVariant("skip-gc"))
	if remove.Err != nil {
		t.Fatal(remove.Err)
	}
	for removed := false; !removed; { // comes after the last signal about the job
		signal := receive(t, signals)
		apply(known, signal)
		removed = signal.Name == managerInterface+".ImagesChanged" && len(signal.Body[2].([]string)) > 0
	}
	objects := s.managed(t, conn)
	want := []godbus.ObjectPath{imagePath(name), first, second, remove.Body[1].(godbus.ObjectPath)}
	if got := slices.Sorted(maps.Keys(objects)); !slices.Equal(got, want) {
		t.Errorf("managed are %q, want %q", got, want)
	}
	if !reflect.DeepEqual(known, objects) {
		t.Errorf("the signals lead to\n%v,\nmanaged are\n%v", known, objects)
	}
	for path, interfaces := range objects {
		for iface, told := range interfaces {
			var all map[string]godbus.Variant
			err := conn.Object(BusName, path).Call(propertiesInterface+".GetAll", 0, iface).Store(&all)
			if err != nil || !reflect.DeepEqual(all, told) {
				t.Errorf("%s of %s has %v, %v, managed is %v", iface, path, all, err, told)
			}
		}
	}
}

// apply does to the known objects what a signal tells.
func apply(known map[godbus.ObjectPath]managedInterfaces, signal *godbus.Signal) {
	switch signal.Name {
	case interfacesAdded:
		var path godbus.ObjectPath
		var interfaces managedInterfaces
		_ = godbus.Store(signal.Body, &path, &interfaces)
		known[path] = interfaces
	case interfacesRemoved:
		delete(known, signal.Body[0].(godbus.ObjectPath))
	case propertiesChanged:
		if interfaces := known[signal.Path]; interfaces != nil {
			maps.Copy(interfaces[signal.Body[0].(string)], signal.Body[1].(map[string]godbus.Variant))
		}
	}
}

// TestImageWithoutAName: a ref that names no image is listed, and has no object.
func TestImageWithoutAName(t *testing.T) {
	s := newSuite(t, suiteOptions{noHammer: true})
	conn := s.connect(t)
	_, path := s.startImport(t, conn, "docker://example.com/image", nil)
	_ = s.wait(conn, path)
	commit := mustStatus(t, s.client(t), 1).Import.Commit
	const ref = "ostree/container/image/nothing"
	command := exec.Command(needs.Tool(t, "ostree"), "refs", "--repo="+s.repository,
		"--create="+ref, commit)
	if output, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	signals := s.signals(t, conn)
	var images []struct {
		Name, Digest, Commit, Version string
		Created                       uint64
		Path                          godbus.ObjectPath
	}
	if err := s.manage(conn, "ListImages").Store(&images); err != nil || len(images) != 2 {
		t.Fatalf("%v, %v", images, err)
	}
	if nameless := images[1]; nameless.Name != ref || nameless.Path != "/" {
		t.Errorf("listed as %+v", nameless)
	}
	changed := awaitSignal(t, signals, "ImagesChanged")
	if !reflect.DeepEqual(changed.Body[0], []string{ref}) {
		t.Errorf("ImagesChanged tells %v", changed.Body)
	}
	if objects := s.managed(t, conn); len(objects) != 2 {
		t.Errorf("managed are %v", objects)
	}
}
