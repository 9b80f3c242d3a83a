package dbus

import (
	"slices"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// handler answers one method. The arguments' types have been checked.
type handler func(c *call) ([]any, error)

// standardMethods are the methods of the interfaces that are not ours; godbus answers those of Peer
// itself.
func (s *Server) standardMethods() map[string]map[string]handler {
	return map[string]map[string]handler{
		introspectableInterface: {"Introspect": s.introspect},
		propertiesInterface: {
			"Get":    s.getProperty,
			"GetAll": s.getAllProperties,
			"Set":    s.setProperty,
		},
		objectManagerInterface: {"GetManagedObjects": s.managedObjects},
	}
}

func (s *Server) introspect(c *call) ([]any, error) {
	return []any{introspectionOf(c.object.interfaces, s.children(c.ctx, c.path))}, nil
}

func (s *Server) getProperty(c *call) ([]any, error) {
	var iface, name string
	if err := c.store(&iface, &name); err != nil {
		return nil, err
	}
	if err := c.requireInterface(iface); err != nil {
		return nil, err
	}
	value, exists := c.object.properties[iface][name]
	if !exists {
		return nil, standardError(errUnknownProperty, "the interface %s has no property %s", iface, name)
	}
	return []any{godbus.MakeVariant(value)}, nil
}

func (s *Server) getAllProperties(c *call) ([]any, error) {
	var iface string
	if err := c.store(&iface); err != nil {
		return nil, err
	}
	if err := c.requireInterface(iface); err != nil {
		return nil, err
	}
	return []any{variants(c.object.properties[iface])}, nil
}

func (s *Server) setProperty(c *call) ([]any, error) {
	var iface, name string
	var value godbus.Variant
	if err := c.store(&iface, &name, &value); err != nil {
		return nil, err
	}
	if err := c.requireInterface(iface); err != nil {
		return nil, err
	}
	spec := interfaceSpecs()[iface].property(name)
	if spec == nil {
		return nil, standardError(errUnknownProperty, "the interface %s has no property %s", iface, name)
	}
	if spec.Access != "readwrite" {
		return nil, standardError(errPropertyReadOnly, "the property %s cannot be set", name)
	}
	if value.Signature().String() != spec.Type {
		return nil, standardError(errInvalidArgs, "the property %s is of type %s, not %s", name, spec.Type, value.Signature())
	}
	if err := s.requirePrivilege(c); err != nil {
		return nil, err
	}
	return nil, s.setters[iface][name](value.Value())
}

// requireInterface refuses an interface that the object does not have.
func (c *call) requireInterface(name string) error {
	if slices.Contains(c.object.interfaces, name) {
		return nil
	}
	return standardError(errUnknownInterface, "the object %s has no interface %s", c.path, name)
}

// variants makes the values a fresh a{sv}.
func variants(values properties) map[string]godbus.Variant {
	dict := make(map[string]godbus.Variant, len(values))
	for name, value := range values {
		dict[name] = godbus.MakeVariant(value)
	}
	return dict
}

// microseconds is a time as the interfaces write it: since 1970, 0 where unknown.
func microseconds(t time.Time) uint64 {
	return uint64(max(0, t.UnixMicro()))
}
