package dbus

import (
	_ "embed"
	"encoding/xml"
	"fmt"
	"strings"
	"sync"

	"github.com/godbus/dbus/v5/introspect"
)

//go:embed org.ostree.import1.xml
var introspectionXML string

// standardXML describes the interfaces that every object has, and that of rootPath.
const standardXML = `<node>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg name="machine_uuid" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg name="xml_data" type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="out"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="properties" type="a{sv}" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="object_paths_interfaces_and_properties" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object_path" type="o"/>
      <arg name="interfaces_and_properties" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object_path" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
</node>`

// propertiesEmit is the annotation that says whether a signal tells the change of a property.
const propertiesEmit = "org.freedesktop.DBus.Property.EmitsChangedSignal"

const introspectionHeader = `<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
`

// Introspection returns the XML that describes all interfaces, as it is installed and served.
func Introspection() string { return introspectionXML }

// interfaceSpec is one interface as the XML describes it.
type interfaceSpec struct {
	introspect.Interface
	// Body is the text between the interface's tags, comments included.
	Body string `xml:",innerxml"`
}

// signature is the signature of a method's arguments; exists is false when there is no such method.
func (s *interfaceSpec) signature(method string) (signature string, exists bool) {
	for _, m := range s.Methods {
		if m.Name != method {
			continue
		}
		for _, arg := range m.Args {
			if arg.Direction == "in" {
				signature += arg.Type
			}
		}
		return signature, true
	}
	return "", false
}

// property is the description of a property, or nil.
func (s *interfaceSpec) property(name string) *introspect.Property {
	for i := range s.Properties {
		if s.Properties[i].Name == name {
			return &s.Properties[i]
		}
	}
	return nil
}

// silentProperties are the names of the properties that PropertiesChanged does not tell: they never
// change, or are to be read again.
func (s *interfaceSpec) silentProperties() []string {
	var names []string
	for _, property := range s.Properties {
		for _, annotation := range property.Annotations {
			if annotation.Name == propertiesEmit && annotation.Value != "true" {
				names = append(names, property.Name)
			}
		}
	}
	return names
}

// interfaceSpecs are all interfaces by name, the standard ones included.
var interfaceSpecs = sync.OnceValue(func() map[string]*interfaceSpec {
	specs := make(map[string]*interfaceSpec)
	for _, text := range []string{standardXML, introspectionXML} {
		var document struct {
			Interfaces []*interfaceSpec `xml:"interface"`
		}
		if err := xml.Unmarshal([]byte(text), &document); err != nil {
			panic(fmt.Sprintf("dbus: the built-in interface description is damaged: %v", err))
		}
		for _, spec := range document.Interfaces {
			specs[spec.Name] = spec
		}
	}
	return specs
})

// introspectionOf describes an object that has the given interfaces and child elements.
func introspectionOf(interfaces, children []string) string {
	var b strings.Builder
	b.WriteString(introspectionHeader)
	b.WriteString("<node>\n")
	for _, name := range interfaces {
		fmt.Fprintf(&b, "  <interface name=%q>%s</interface>\n", name, interfaceSpecs()[name].Body)
	}
	for _, child := range children {
		fmt.Fprintf(&b, "  <node name=%q/>\n", child)
	}
	b.WriteString("</node>\n")
	return b.String()
}
