package dbus

import (
	"context"
	"runtime/debug"
	"slices"

	godbus "github.com/godbus/dbus/v5"

	"github.com/ostree-importd/ostree-importd/importer"
)

// call is one method call while it is handled.
type call struct {
	ctx    context.Context // ends with the connection
	key    callKey
	path   godbus.ObjectPath
	iface  string
	member string
	args   []any
	// interactive says that the caller would wait for somebody to type a password.
	interactive bool
	object      *object
	turn        *turn
	descriptors *descriptors // nil for none
}

// outside runs fn, which waits for somebody else, while other calls have their turn.
func (c *call) outside(fn func() error) error {
	c.turn.pause()
	err := fn()
	if resumed := c.turn.resume(c.ctx); err == nil {
		err = resumed
	}
	return err
}

// store copies the arguments to where the pointers point. Their types are right: dispatch compared
// the signatures.
func (c *call) store(pointers ...any) error {
	if err := godbus.Store(c.args, pointers...); err != nil {
		return standardError(errInvalidArgs, "%s: %v", c.member, err)
	}
	return nil
}

// router hands every call on the connection to Server.handle, whatever its path and interface: each
// of these has its own standard error when it is unknown.
type router struct{ server *Server }

// LookupObject implements godbus.Handler.
func (r router) LookupObject(godbus.ObjectPath) (godbus.ServerObject, bool) { return r, true }

// LookupInterface implements godbus.ServerObject.
func (r router) LookupInterface(string) (godbus.Interface, bool) { return r, true }

// LookupMethod implements godbus.Interface.
func (r router) LookupMethod(string) (godbus.Method, bool) { return r, true }

// DecodeArguments implements godbus.ArgumentDecoder.
func (r router) DecodeArguments(conn *godbus.Conn, _ string, msg *godbus.Message, _ []any) ([]any, error) {
	return []any{conn, msg}, nil
}

// Call implements godbus.Method with what DecodeArguments returned. It returns no error for a call
// that wants no answer: godbus would send it, when the call has ended and another may have its
// serial.
func (r router) Call(args ...any) ([]any, error) {
	ctx, msg := args[0].(*godbus.Conn).Context(), args[1].(*godbus.Message)
	if msg.Flags&godbus.FlagNoReplyExpected == 0 {
		return r.answer(ctx, msg)
	}
	defer r.server.calls.finish(keyOf(msg))
	_, _ = r.answer(ctx, msg)
	return nil, nil
}

// answer waits for the call's turn, and returns the answer to it.
func (r router) answer(ctx context.Context, msg *godbus.Message) ([]any, error) {
	key := keyOf(msg)
	turn, err := r.server.turns.take(ctx, key.sender)
	if err != nil {
		return nil, err
	}
	r.server.calls.after(key, turn.pause)
	reply, failure := r.server.handle(ctx, msg, turn)
	if failure != nil {
		return nil, failure
	}
	return reply, nil
}

// The rest of godbus.Method is for its own decoder, which DecodeArguments replaces.

func (router) NumArguments() int     { return 0 }
func (router) NumReturns() int       { return 0 }
func (router) ArgumentValue(int) any { return nil }
func (router) ReturnValue(int) any   { return nil }

// handle answers one call, whose turn it is.
func (s *Server) handle(
	ctx context.Context, msg *godbus.Message, turn *turn,
) (reply []any, failure *godbus.Error) {
	c := &call{
		ctx:         ctx,
		turn:        turn,
		key:         keyOf(msg),
		descriptors: s.calls.brought(keyOf(msg)),
		args:        msg.Body,
		interactive: msg.Flags&godbus.FlagAllowInteractiveAuthorization != 0,
	}
	c.path, _ = msg.Headers[godbus.FieldPath].Value().(godbus.ObjectPath)
	c.iface, _ = msg.Headers[godbus.FieldInterface].Value().(string)
	c.member, _ = msg.Headers[godbus.FieldMember].Value().(string)
	signature, _ := msg.Headers[godbus.FieldSignature].Value().(godbus.Signature)

	defer func() {
		if cause := recover(); cause != nil {
			s.log.Errorf("%s on %s panicked: %v\n%s", c.member, c.path, cause, debug.Stack())
			reply = nil
			failure = godbus.NewError(errorName(importer.KindFailed), []any{"internal error; the daemon's log tells more"})
		}
	}()
	reply, err := s.dispatch(c, signature.String())
	if err != nil {
		return nil, toBusError(err)
	}
	return reply, nil
}

// dispatch finds the handler of a call and runs it.
func (s *Server) dispatch(c *call, signature string) ([]any, error) {
	var err error
	if c.object, err = s.resolve(c.ctx, c.path); err != nil {
		return nil, err
	}
	names := c.object.interfaces
	if c.iface != "" {
		if !slices.Contains(names, c.iface) {
			return nil, standardError(errUnknownInterface, "the object %s has no interface %s", c.path, c.iface)
		}
		names = []string{c.iface}
	}
	for _, name := range names {
		expected, exists := interfaceSpecs()[name].signature(c.member)
		if !exists {
			continue
		}
		if signature != expected {
			return nil, standardError(errInvalidArgs, "%s.%s takes (%s), not (%s)", name, c.member, expected, signature)
		}
		return s.methods[name][c.member](c)
	}
	return nil, standardError(errUnknownMethod, "no method %s on %s", c.member, c.path)
}
