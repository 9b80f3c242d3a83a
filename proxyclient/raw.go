package proxyclient

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"
)

// maxRawError bounds the text on a raw stream's error descriptor.
const maxRawError = 64 << 10

// rawVerdict is that of GetRawBlob: a descriptor with an error, or nothing.
type rawVerdict struct{ errors *os.File }

func (v *rawVerdict) wait(s *stream) error {
	defer v.errors.Close()
	// The text is complete when the data has ended, so this does not block.
	if err := v.errors.SetReadDeadline(time.Now().Add(s.pace.window)); err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(v.errors, maxRawError))
	if err != nil {
		return fmt.Errorf("cannot read the error of the stream: %w", err)
	}
	if len(text) == 0 {
		return nil
	}
	var fault struct{ Code, Message string }
	if err := json.Unmarshal(text, &fault); err != nil {
		fault.Message = "unreadable error: " + string(text)
	}
	e := classify(s.op, fault.Message, fault.Code)
	e.Stderr = s.proxy.child.stderr.String()
	return e
}

func (v *rawVerdict) abandon() { v.errors.Close() }

// stalled does nothing: other streams of the process go on. This one keeps its
// resources there, so the process should not serve much longer.
func (v *rawVerdict) stalled(*Error) {}

// openRaw starts a raw stream.
func (p *Proxy) openRaw(ctx context.Context, size int64, id uint64, digest string) (*stream, error) {
	const op = "GetRawBlob"
	r, err := p.request(ctx, p.cfg.Timeouts.Control, shapeRaw, op, id, digest)
	if err != nil {
		return nil, err
	}
	files, err := r.takeFiles()
	if err != nil {
		return nil, p.breach(op, err)
	}
	return p.newStream(ctx, op, size, files[0], &rawVerdict{errors: files[1]}), nil
}
