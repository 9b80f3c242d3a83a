package dbus

import (
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5/introspect"

	"github.com/ostree-importd/ostree-importd/tests/needs"
)

const (
	docString = "org.gtk.GDBus.DocString"
	qtType    = "org.qtproject.QtDBus.QtTypeName"
)

// annotations are those of one element, by name.
type annotations map[string]string

func annotationsOf(list []introspect.Annotation) annotations {
	named := make(annotations, len(list))
	for _, annotation := range list {
		named[annotation.Name] = annotation.Value
	}
	return named
}

// describedArg is an argument with its annotations, which introspect.Arg does not read.
type describedArg struct {
	Name        string                  `xml:"name,attr"`
	Type        string                  `xml:"type,attr"`
	Direction   string                  `xml:"direction,attr"`
	Annotations []introspect.Annotation `xml:"annotation"`
}

// described is a method, a signal or a property.
type described struct {
	Name        string                  `xml:"name,attr"`
	Type        string                  `xml:"type,attr"`
	Args        []describedArg          `xml:"arg"`
	Annotations []introspect.Annotation `xml:"annotation"`
}

type describedInterface struct {
	Name        string                  `xml:"name,attr"`
	Methods     []described             `xml:"method"`
	Signals     []described             `xml:"signal"`
	Properties  []described             `xml:"property"`
	Annotations []introspect.Annotation `xml:"annotation"`
}

// members are all that an interface has.
func (i *describedInterface) members() []described {
	return append(append(append([]described{}, i.Methods...), i.Signals...), i.Properties...)
}

func describedInterfaces(t *testing.T) []describedInterface {
	t.Helper()
	var document struct {
		Interfaces []describedInterface `xml:"interface"`
	}
	if err := xml.Unmarshal([]byte(Introspection()), &document); err != nil {
		t.Fatal(err)
	}
	return document.Interfaces
}

// TestEverythingIsAnnotated: gdbus-codegen documents each part, and qdbusxml2cpp knows a C++ type
// for each that is not a basic one. Signals and methods tell it by direction and position.
func TestEverythingIsAnnotated(t *testing.T) {
	for _, iface := range describedInterfaces(t) {
		if annotationsOf(iface.Annotations)[docString] == "" {
			t.Errorf("%s is not documented", iface.Name)
		}
		for _, member := range iface.members() {
			name, has := iface.Name+"."+member.Name, annotationsOf(member.Annotations)
			if has[docString] == "" {
				t.Errorf("%s is not documented", name)
			}
			if needsQtType(member.Type) && has[qtType] == "" {
				t.Errorf("%s has no C++ type", name)
			}
			checkArgs(t, name, member.Args, has)
		}
	}
}

func checkArgs(t *testing.T, of string, args []describedArg, has annotations) {
	t.Helper()
	var in, out int
	for _, arg := range args {
		if annotationsOf(arg.Annotations)[docString] == "" {
			t.Errorf("the argument %s of %s is not documented", arg.Name, of)
		}
		place := ".Out" + string(rune('0'+out))
		if arg.Direction == "in" {
			place = ".In" + string(rune('0'+in))
			in++
		} else {
			out++
		}
		if needsQtType(arg.Type) && has[qtType+place] == "" {
			t.Errorf("%s of %s has no C++ type: %s is missing", arg.Name, of, place)
		}
	}
}

// needsQtType reports whether QtDBus knows no C++ type for a signature by itself.
func needsQtType(signature string) bool {
	return strings.ContainsAny(signature, "({")
}

// TestCodegen has gdbus-codegen document the interfaces and write C code for them.
func TestCodegen(t *testing.T) {
	codegen := needs.Tool(t, "gdbus-codegen")
	source, err := filepath.Abs("org.ostree.import1.xml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(args ...string) {
		t.Helper()
		cmd := exec.Command(codegen, append(args, source)...)
		cmd.Dir = dir
		if output, err := cmd.CombinedOutput(); err != nil || len(output) > 0 {
			t.Fatalf("%v: %v: %s", args, err, output)
		}
	}
	run("--generate-rst", "doc")
	run("--generate-c-code", "code", "--c-namespace", "OstreeImport")
	for _, iface := range describedInterfaces(t) {
		text, err := os.ReadFile(filepath.Join(dir, "doc-"+iface.Name+".rst"))
		if err != nil {
			t.Fatal(err)
		}
		printed := words(string(text))
		for _, member := range iface.members() {
			want := words(annotationsOf(member.Annotations)[docString])
			if !strings.Contains(printed, want) {
				t.Errorf("the documentation of %s.%s lacks %q", iface.Name, member.Name, want)
			}
		}
	}
	code, err := os.ReadFile(filepath.Join(dir, "code.h"))
	if err != nil || !strings.Contains(string(code), "call_check_update") {
		t.Errorf("the C code lacks a method: %v", err)
	}
}

// words is a text with one space where it has white space.
func words(text string) string { return strings.Join(strings.Fields(text), " ") }
