package dbus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	godbus "github.com/godbus/dbus/v5"
)

// busCallTimeout bounds calls that the bus itself answers.
const busCallTimeout = 25 * time.Second

// busAddress gives the address that "system", "session" or "" (system) stand for; others are
// addresses already.
func busAddress(name string) string {
	switch name {
	case "", "system":
		if address := os.Getenv("DBUS_SYSTEM_BUS_ADDRESS"); address != "" {
			return address
		}
		return "unix:path=/run/dbus/system_bus_socket"
	case "session":
		if address := os.Getenv("DBUS_SESSION_BUS_ADDRESS"); address != "" {
			return address
		}
		return fmt.Sprintf("unix:path=/run/user/%d/bus", os.Getuid())
	}
	return name
}

// connect opens a connection that is ready for calls, and can pass descriptors.
func connect(ctx context.Context, name string, options ...godbus.ConnOption) (*godbus.Conn, error) {
	return connectBy(ctx, name, func(socket net.Conn) (*godbus.Conn, error) {
		return godbus.DialUnix(socket.(*net.UnixConn), options...)
	})
}

// connectThrough is connect with something between the socket and godbus.
func connectThrough(
	ctx context.Context, name string,
	through func(net.Conn) io.ReadWriteCloser, options ...godbus.ConnOption,
) (*godbus.Conn, error) {
	return connectBy(ctx, name, func(socket net.Conn) (*godbus.Conn, error) {
		return godbus.NewConn(through(socket), options...)
	})
}

func connectBy(
	ctx context.Context, name string, begin func(net.Conn) (*godbus.Conn, error),
) (*godbus.Conn, error) {
	address := busAddress(name)
	dialed, err := dialSocket(ctx, address)
	if err != nil {
		return nil, fmt.Errorf("connect to the bus at %s: %w", address, err)
	}
	conn, err := begin(dialed)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("connect to the bus at %s: %w", address, err), dialed.Close())
	}
	// The handshake takes no context: closing the connection is what ends it.
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err = conn.Auth([]godbus.Auth{godbus.AuthExternal(strconv.Itoa(os.Getuid()))})
	if err == nil {
		err = conn.Hello()
	}
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("log in to the bus at %s: %w", address, err)
	}
	return conn, nil
}

// dialSocket connects to the first of the address's unix sockets that answers.
func dialSocket(ctx context.Context, address string) (net.Conn, error) {
	var failures []error
	for part := range strings.SplitSeq(address, ";") {
		path, err := socketPath(part)
		if err == nil {
			var socket net.Conn
			if socket, err = new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
				return socket, nil
			}
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

// socketPath is the socket of one "unix:path=…" or "unix:abstract=…" address, as package net names
// it.
func socketPath(address string) (string, error) {
	keys, isUnix := strings.CutPrefix(address, "unix:")
	if !isUnix {
		return "", fmt.Errorf("bus address %q: only unix:path= and unix:abstract= are supported", address)
	}
	for pair := range strings.SplitSeq(keys, ",") {
		key, escaped, _ := strings.Cut(pair, "=")
		if key != "path" && key != "abstract" {
			continue
		}
		value, err := godbus.UnescapeBusAddressValue(escaped)
		if err != nil {
			return "", fmt.Errorf("bus address %q: %w", address, err)
		}
		if key == "abstract" {
			value = "@" + value
		}
		return value, nil
	}
	return "", fmt.Errorf("bus address %q: neither path= nor abstract=", address)
}

// askTimeout bounds one attempt to ask the bus something.
const askTimeout = 5 * time.Second

// askBus is callBus for a question, which is asked again when no answer comes: dbus-daemon drops
// those to a connection to which somebody has just sent many descriptors.
func askBus(ctx context.Context, conn *godbus.Conn, method string, args ...any) (call *godbus.Call) {
	for range busCallTimeout / askTimeout {
		attempt, cancel := context.WithTimeout(ctx, askTimeout)
		call = callBus(attempt, conn, method, args...)
		late := attempt.Err() != nil
		cancel()
		if call.Err == nil || !late || ctx.Err() != nil {
			return call
		}
	}
	return call
}

// callBus calls a method of the bus itself.
func callBus(ctx context.Context, conn *godbus.Conn, method string, args ...any) *godbus.Call {
	ctx, cancel := context.WithTimeout(ctx, busCallTimeout)
	defer cancel()
	return conn.BusObject().CallWithContext(ctx, "org.freedesktop.DBus."+method, 0, args...)
}
