package proxytest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/opencontainers/go-digest"
)

// server is the proxy's state: like the real one it handles one request at a time.
type server struct {
	options Options
	image   Image
	patch   int // of the version 0.2.patch
	conn    *net.UnixConn
	pipes   map[uint32]*pipe
	kept    []*os.File // write ends of NoEOF
	opened  uint64
}

// pipe is a stream that FinishPipe ends: the write end stays open until then.
type pipe struct {
	write   *os.File
	written chan error
	keep    bool
}

// response is a reply with its descriptors, which are closed after sending.
type response struct {
	Success bool   `json:"success"`
	Value   any    `json:"value"`
	PipeID  uint32 `json:"pipeid"`
	Error   string `json:"error"`
	Code    string `json:"error_code,omitempty"`

	files []*os.File
}

func serve(o Options) error {
	if o.Version == "" {
		o.Version = "0.2.8"
	}
	if o.Moved != "" {
		file, err := os.OpenFile(o.Moved, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			o.Layers = append(o.Layers, 1)
		}
		file.Close()
	}
	patch, _ := strconv.Atoi(o.Version[strings.LastIndexByte(o.Version, '.')+1:])
	conn, err := net.FileConn(os.Stdin)
	if err != nil {
		return err
	}
	s := &server{options: o, image: o.Image(), patch: patch, conn: conn.(*net.UnixConn), pipes: map[uint32]*pipe{}}
	s.log(Event{Argv: os.Args[3:], Env: os.Environ()})
	packet := make([]byte, 32<<10)
	for {
		n, err := s.conn.Read(packet)
		if n == 0 || err != nil {
			return nil
		}
		var request struct {
			Method string
			Args   []any
		}
		if err := json.Unmarshal(packet[:n], &request); err != nil {
			return err
		}
		s.log(Event{Method: request.Method, Args: request.Args})
		if err := s.handle(request.Method, request.Args); err != nil {
			return err
		}
		if request.Method == "Shutdown" {
			return nil
		}
	}
}

func (s *server) log(e Event) {
	if s.options.Log == "" {
		return
	}
	e.PID = os.Getpid()
	file, err := os.OpenFile(s.options.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer file.Close()
	file.Write(append(mustJSON(e), '\n'))
}

func (s *server) handle(method string, args []any) error {
	if method == s.options.DelayMethod {
		time.Sleep(s.options.Delay)
	}
	f := s.fault(method)
	switch f.Kind {
	case Hang:
		hang()
	case Die:
		return fmt.Errorf("died in %s as told", method)
	case Quit:
		syscall.Exit(0)
	case Kill:
		killSelf()
	case Flood:
		flood()
	case Error:
		return s.send(response{Error: f.Message, Code: f.Code})
	}
	r, err := s.answer(method, args, f)
	if err != nil {
		return s.send(response{Error: err.Error()})
	}
	if method == "Shutdown" {
		return nil
	}
	return s.sendFaulty(r, f)
}

// sendFaulty sends the reply as the fault makes it.
func (s *server) sendFaulty(r response, f Fault) error {
	defer closeAll(r.files)
	switch f.Kind {
	case Garbage:
		return s.packet([]byte("<html>not a reply</html>"), nil)
	case Truncated:
		data := mustJSON(r)
		return s.packet(data[:len(data)/2], r.files)
	case Huge:
		raw, err := s.conn.SyscallConn()
		if err != nil {
			return err
		}
		const force = 0x20 // SO_SNDBUFFORCE
		if err := raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, force, 8<<20) }); err != nil {
			return err
		}
		r.Error = strings.Repeat("x", 2<<20)
	case Mute:
		if err := s.conn.CloseWrite(); err != nil {
			return err
		}
		hang()
	case WrongType:
		r.Value = map[string]any{"a": []int{1}}
	case NoFDs:
		r.files = nil
	case ExtraFDs:
		return s.packet(mustJSON(r), append(slices.Clone(r.files), os.Stdin, os.Stdin, os.Stdin, os.Stderr, os.Stderr))
	case NoPipeID:
		r.PipeID = 0
	case BothSides:
		r.Error = "and yet it failed"
	}
	return s.packet(mustJSON(r), r.files)
}

func (s *server) send(r response) error { return s.packet(mustJSON(r), r.files) }

func (s *server) packet(data []byte, files []*os.File) error {
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = syscall.UnixRights(fds...)
	}
	_, _, err := s.conn.WriteMsgUnix(data, rights, nil)
	return err
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// since is the protocol version, as 0.2.N, that brought a method.
func since(method string) int {
	return map[string]int{"OpenImageOptional": 4, "GetLayerInfo": 5, "GetLayerInfoPiped": 7, "GetRawBlob": 8}[method]
}

// answer does what a good proxy does; f matters for the data of streams only.
func (s *server) answer(method string, args []any, f Fault) (response, error) {
	if s.patch < since(method) || slices.Contains(s.options.Unknown, method) {
		return response{}, fmt.Errorf("unknown method: %s", method)
	}
	switch method {
	case "Initialize":
		return response{Success: true, Value: s.options.Version}, nil
	case "OpenImage", "OpenImageOptional":
		if s.options.RejectDigests && strings.Contains(args[0].(string), "@") {
			return response{}, errors.New("opening: Source image rejected: A signature was required, but no signature exists")
		}
		if s.options.NoImage && method == "OpenImageOptional" {
			return response{Success: true, Value: 0}, nil
		}
		s.opened++
		return response{Success: true, Value: s.opened}, nil
	case "CloseImage", "Shutdown":
		return response{Success: true}, nil
	case "GetManifest":
		return s.pipe(digest.FromBytes(s.image.Manifest), s.image.Manifest, "", 0, f)
	case "GetFullConfig":
		var config bytes.Buffer // other bytes than the stored ones
		if err := json.Compact(&config, s.image.Config); err != nil {
			return response{}, err
		}
		return s.pipe(nil, config.Bytes(), "", 0, f)
	case "GetConfig":
		var config struct {
			Config json.RawMessage `json:"config"`
		}
		if err := json.Unmarshal(s.image.Config, &config); err != nil {
			return response{}, err
		}
		return s.pipe(nil, config.Config, "", 0, f)
	case "GetLayerInfo":
		return response{Success: true, Value: s.layerInfo()}, nil
	case "GetLayerInfoPiped":
		return s.pipe(nil, mustJSON(s.layerInfo()), "", 0, f)
	case "GetBlob":
		want := digest.Digest(args[1].(string))
		data, err := s.blob(want)
		if err != nil {
			return response{}, err
		}
		return s.pipe(len(data), data, want, int(args[2].(float64)), f)
	case "GetRawBlob":
		data, err := s.blob(digest.Digest(args[1].(string)))
		if err != nil {
			return response{}, err
		}
		return s.raw(data, f)
	case "FinishPipe":
		return response{Success: true}, s.finishPipe(uint32(args[0].(float64)))
	}
	return response{}, fmt.Errorf("unknown method: %s", method)
}

func (s *server) blob(d digest.Digest) ([]byte, error) {
	for _, data := range append([][]byte{s.image.Config}, s.image.Layers...) {
		if digest.FromBytes(data) == d {
			return data, nil
		}
	}
	return nil, errors.New("fetching blob: blob unknown to registry")
}

func (s *server) layerInfo() []map[string]any {
	infos := []map[string]any{}
	for _, d := range s.image.Parsed.Layers {
		infos = append(infos, map[string]any{"digest": d.Digest, "size": d.Size, "media_type": d.MediaType})
	}
	return infos
}

// pipe starts a stream; want and size, for blobs, are what its verdict is about.
func (s *server) pipe(value any, data []byte, want digest.Digest, size int, f Fault) (response, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return response{}, err
	}
	p := &pipe{write: w, written: make(chan error, 1), keep: f.Kind == NoEOF}
	id := uint32(w.Fd())
	s.pipes[id] = p
	data, after := f.damage(data)
	go func() {
		if f.Kind == Drip {
			drip(w)
		}
		_, err := io.Copy(w, bytes.NewReader(data))
		after()
		switch {
		case err != nil || want == "":
		case digest.FromBytes(data) != want:
			err = fmt.Errorf("corrupted blob, expecting %s, got %s", want, digest.FromBytes(data))
		case len(data) != size:
			err = fmt.Errorf("expected %d bytes in blob, got %d", size, len(data))
		}
		p.written <- err
	}()
	return response{Success: true, Value: value, PipeID: id, files: []*os.File{r}}, nil
}

func (s *server) finishPipe(id uint32) error {
	p := s.pipes[id]
	if p == nil {
		return fmt.Errorf("finishpipe: no active pipe %d", id)
	}
	delete(s.pipes, id)
	err := <-p.written
	if p.keep {
		s.kept = append(s.kept, p.write) // or the garbage collector closes it
	} else {
		p.write.Close()
	}
	return err
}

// raw starts a stream with an error descriptor, which is closed first.
func (s *server) raw(data []byte, f Fault) (response, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return response{}, err
	}
	er, ew, err := os.Pipe()
	if err != nil {
		return response{}, err
	}
	size := len(data)
	data, after := f.damage(data)
	go func() {
		if f.Kind == Drip {
			drip(w)
		}
		_, err := io.Copy(w, bytes.NewReader(data))
		after()
		switch {
		case f.Kind == RawNoise:
			ew.WriteString("no JSON")
		case f.Kind == RawError:
			ew.Write(mustJSON(map[string]string{"code": f.Code, "message": f.Message}))
		case err != nil:
			ew.Write(mustJSON(map[string]string{"code": "EPIPE", "message": err.Error()}))
		}
		ew.Close()
		w.Close()
	}()
	return response{Success: true, Value: size, files: []*os.File{r, er}}, nil
}
