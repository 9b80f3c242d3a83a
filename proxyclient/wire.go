package proxyclient

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/sys/unix"
)

const (
	// maxRequest is what the server reads of a request; it cuts longer ones.
	maxRequest = 32 << 10
	// maxReply is the largest reply accepted: all that fits the child's send buffer.
	maxReply = 1 << 20
	// maxFDs is the most descriptors that one packet can carry.
	maxFDs = 253
)

// request is one packet to the proxy.
type request struct {
	Method string `json:"method"`
	// Args is never nil: an array is what every version understands.
	Args []any `json:"args"`
}

// reply is one packet from the proxy. Unknown fields are accepted.
type reply struct {
	Success   bool            `json:"success"`
	Value     json.RawMessage `json:"value"`
	PipeID    uint32          `json:"pipeid"`
	Error     string          `json:"error"`
	ErrorCode string          `json:"error_code"`

	fds []int // owned by whoever has the reply
}

// parseReply reads the JSON of a packet.
func parseReply(packet []byte) (reply, error) {
	var r reply
	if err := json.Unmarshal(packet, &r); err != nil {
		return reply{}, fmt.Errorf("it is not the JSON of a reply: %w", err)
	}
	if r.Success && r.Error != "" {
		return reply{}, errors.New("it reports both success and an error")
	}
	return r, nil
}

// shape is what a method's reply carries besides its value.
type shape int

const (
	shapeValue shape = iota // nothing
	shapePipe               // a descriptor, and a pipeid to finish
	shapeRaw                // descriptors for data and error, no pipeid
)

// check tells whether a successful reply has the shape that its method has.
func (r reply) check(want shape) error {
	fds, pipe := 0, false
	switch want {
	case shapePipe:
		fds, pipe = 1, true
	case shapeRaw:
		fds = 2
	}
	if len(r.fds) != fds || (r.PipeID != 0) != pipe {
		return fmt.Errorf("it has %d descriptors and pipe id %d, but %d descriptors were expected", len(r.fds), r.PipeID, fds)
	}
	return nil
}

// uint reads the value as an unsigned number.
func (r reply) uint() (uint64, error) {
	var n uint64
	if err := json.Unmarshal(r.Value, &n); err != nil {
		return 0, fmt.Errorf("its value is not a number: %w", err)
	}
	return n, nil
}

// size reads the value as a blob's size, where a negative one is unknown (-1).
func (r reply) size() (int64, error) {
	var n int64
	if err := json.Unmarshal(r.Value, &n); err != nil {
		return 0, fmt.Errorf("its value is not a size: %w", err)
	}
	return max(n, -1), nil
}

// text reads the value as a string.
func (r reply) text() (string, error) {
	var s string
	if err := json.Unmarshal(r.Value, &s); err != nil {
		return "", fmt.Errorf("its value is not a string: %w", err)
	}
	return s, nil
}

// closeFDs closes the descriptors that the reply still has.
func (r *reply) closeFDs() {
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	r.fds = nil
}

// takeFiles returns the descriptors as files, with deadlines and a Close that
// wakes a reader: pipes arrive in blocking mode, where both would not work.
func (r *reply) takeFiles() ([]*os.File, error) {
	for _, fd := range r.fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			r.closeFDs()
			return nil, err
		}
	}
	files := make([]*os.File, len(r.fds))
	for i, fd := range r.fds {
		files[i] = os.NewFile(uintptr(fd), "image proxy stream")
	}
	r.fds = nil
	return files, nil
}

// wire sends requests and receives replies on the socket, one at a time.
type wire struct {
	conn   *net.UnixConn
	packet []byte
	oob    []byte
}

func newWire(conn *net.UnixConn) *wire {
	return &wire{conn: conn, packet: make([]byte, maxReply), oob: make([]byte, unix.CmsgSpace(maxFDs*4))}
}

func encodeRequest(method string, args []any) ([]byte, error) {
	if args == nil {
		args = []any{}
	}
	packet, err := json.Marshal(request{Method: method, Args: args})
	if err != nil {
		return nil, err
	}
	if len(packet) > maxRequest {
		return nil, fmt.Errorf("the request has %d bytes, and the image proxy takes %d", len(packet), maxRequest)
	}
	return packet, nil
}

// errMalformed marks a reply that breaks the protocol.
var errMalformed = errors.New("the image proxy sent a reply that breaks the protocol")

// receive waits for one reply. Errors are io.EOF and those of the socket when
// the child is gone, or errMalformed; the reply then has no descriptors.
func (w *wire) receive() (reply, error) {
	n, oobn, flags, _, err := w.conn.ReadMsgUnix(w.packet, w.oob)
	fds, fdErr := descriptors(w.oob[:oobn]) // also on an error: an empty packet can carry some
	r := reply{fds: fds}
	broken := func(err error) (reply, error) {
		r.closeFDs()
		return reply{}, fmt.Errorf("%w: %w", errMalformed, err)
	}
	switch {
	case err != nil:
		r.closeFDs()
		return reply{}, err
	case fdErr != nil:
		return broken(fdErr)
	case flags&unix.MSG_TRUNC != 0:
		return broken(fmt.Errorf("it is larger than %d bytes", maxReply))
	case flags&unix.MSG_CTRUNC != 0:
		return broken(errors.New("descriptors were lost"))
	}
	parsed, err := parseReply(w.packet[:n])
	if err != nil {
		return broken(err)
	}
	parsed.fds = fds
	return parsed, nil
}

// descriptors returns the descriptors in a control message; on an error too, so
// that they can be closed.
func descriptors(oob []byte) ([]int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	var all []int
	for i := range messages {
		fds, err := unix.ParseUnixRights(&messages[i])
		if err != nil {
			return all, err
		}
		all = append(all, fds...)
	}
	return all, nil
}
