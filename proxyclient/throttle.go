package proxyclient

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"sync"
	"time"
)

// maxRetryAfter is how long a registry may make one call wait by answering that there are too many
// requests.
const maxRetryAfter = time.Minute

// throttle follows what a registry asks of the proxy that limits requests: to wait, and for how
// long. The proxy does wait (status 429, up to 60 s and four times for each request), but tells of
// it only in its debug log. What the registry asks of it with another status, such as 503, the
// proxy does not tell at all.
type throttle struct {
	refuse func(*Error) // is called for a wait that is too long

	mu    sync.Mutex
	timer *time.Timer // of the call under way; nil: there is none
	until time.Time   // when timer fires
	asked time.Duration
}

// begin is called when a call starts, with the timer of its limit, and end when it has ended.
func (t *throttle) begin(timer *time.Timer, limit time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer, t.until, t.asked = timer, time.Now().Add(limit), 0
}

func (t *throttle) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.timer.Stop()
	t.timer = nil
}

// The lines of the proxy's debug log (skopeo 1.9 to 1.22), whose messages are quoted.
var (
	retryAfterLine = regexp.MustCompile(`^time="[^"]*" level=debug msg="Detected 'Retry-After' header \\"([^"\\]{1,64})\\""`)
	sleepingLine   = regexp.MustCompile(`^time="[^"]*" level=debug msg="Too many requests to .+: sleeping for ([0-9]{1,9})\.[0-9]+ seconds`)
)

// line looks at one line of the debug log.
func (t *throttle) line(line []byte) {
	if m := retryAfterLine.FindSubmatch(line); m != nil {
		if wait := retryAfter(string(m[1]), time.Now()); wait > maxRetryAfter {
			t.tooLong(fmt.Sprintf("asks to wait %v", wait.Round(time.Second)))
		}
		return
	}
	m := sleepingLine.FindSubmatch(line)
	if m == nil {
		return
	}
	seconds, err := strconv.Atoi(string(m[1]))
	if err == nil && !t.extend(time.Duration(seconds)*time.Second) {
		t.tooLong(fmt.Sprintf("has asked to wait again and again, for more than %v", maxRetryAfter))
	}
}

// extend gives the call under way the time that the registry asks for. It reports false when that
// is too long.
func (t *throttle) extend(wait time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.timer == nil {
		return true
	}
	t.asked += wait
	t.until = t.until.Add(wait)
	if t.asked > maxRetryAfter {
		return false
	}
	if t.timer.Stop() { // else the limit was exceeded just now
		t.timer.Reset(time.Until(t.until))
	}
	return true
}

func (t *throttle) tooLong(what string) {
	t.mu.Lock()
	under := t.timer != nil
	t.mu.Unlock()
	if under {
		t.refuse(&Error{Class: ClassNetwork, permanent: true,
			Message: "the registry answers that there are too many requests (status 429) and " + what + "; try again later"})
	}
}

// retryAfter reads the value of a Retry-After header (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	const longest = 365 * 24 * time.Hour
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return time.Duration(min(seconds, int64(longest/time.Second))) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return min(date.Sub(now), longest)
	}
	return 0
}

// maxLogLine is how much of a line of the proxy's stderr is looked at.
const maxLogLine = 8 << 10

// logFilter takes a proxy's stderr: lines of its debug log go to the throttle and to debug only,
// all others to rest.
type logFilter struct {
	throttle *throttle
	debug    func(line []byte) // nil: they are wanted nowhere else
	rest     io.Writer
	line     []byte
}

// Write implements io.Writer; it never fails. A line that is not complete is kept, up to maxLogLine
// bytes.
func (f *logFilter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part, rest, complete := bytes.Cut(p, []byte{'\n'})
		f.line = append(f.line, part[:min(len(part), maxLogLine-len(f.line))]...)
		p = rest
		if complete {
			f.flush()
		}
	}
	return n, nil
}

// flush is called at the end of a line, and of the process.
func (f *logFilter) flush() {
	if debug := bytes.Contains(f.line[:min(len(f.line), 64)], []byte(" level=debug ")); debug {
		f.throttle.line(f.line)
		if f.debug != nil {
			f.debug(f.line)
		}
	} else if len(f.line) > 0 {
		_, _ = f.rest.Write(append(f.line, '\n')) // a tail takes everything
	}
	f.line = f.line[:0]
}
