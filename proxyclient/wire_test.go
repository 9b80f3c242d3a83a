package proxyclient

import (
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseReply(t *testing.T) {
	tests := []struct {
		name, packet string
		want         string // the error, "": none
	}{
		{"value", `{"success":true,"value":"0.2.8","pipeid":0,"error":""}`, ""},
		{"null value", `{"success":true,"value":null,"pipeid":3,"error_code":"","error":""}`, ""},
		{"unknown field", `{"success":true,"value":1,"news":[1,2]}`, ""},
		{"error", `{"success":false,"value":null,"pipeid":0,"error":"manifest unknown","error_code":"other"}`, ""},
		{"empty", ``, "not the JSON of a reply"},
		{"cut", `{"success":tr`, "not the JSON of a reply"},
		{"two replies", `{"success":true}{"success":true}`, "not the JSON of a reply"},
		{"array", `[]`, "not the JSON of a reply"},
		{"negative pipe id", `{"success":true,"pipeid":-1}`, "not the JSON of a reply"},
		{"pipe id over 32 bits", `{"success":true,"pipeid":4294967296}`, "not the JSON of a reply"},
		{"success with error", `{"success":true,"error":"x"}`, "both success and an error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseReply([]byte(tt.packet))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func FuzzParseReply(f *testing.F) {
	f.Fuzz(func(t *testing.T, packet []byte) {
		r, err := parseReply(packet)
		if err != nil {
			return
		}
		if r.Success && r.Error != "" {
			t.Error("both success and an error")
		}
		// Values of any type must be read or refused.
		if size, err := r.size(); err == nil && size < -1 {
			t.Errorf("size %d", size)
		}
		_, _ = r.uint()
		_, _ = r.text()
		if e := classify("x", r.Error, r.ErrorCode); e.Message == "" || len(e.Message) > 4*maxText {
			t.Errorf("message of %d bytes", len(e.Message))
		}
	})
}

func TestReplyShape(t *testing.T) {
	tests := []struct {
		name  string
		reply reply
		want  shape
		ok    bool
	}{
		{"value", reply{}, shapeValue, true},
		{"value with a descriptor", reply{fds: []int{-1}}, shapeValue, false},
		{"value with a pipe id", reply{PipeID: 4}, shapeValue, false},
		{"pipe", reply{fds: []int{-1}, PipeID: 4}, shapePipe, true},
		{"pipe without an id", reply{fds: []int{-1}}, shapePipe, false},
		{"pipe without a descriptor", reply{PipeID: 4}, shapePipe, false},
		{"raw", reply{fds: []int{-1, -1}}, shapeRaw, true},
		{"raw with an id", reply{fds: []int{-1, -1}, PipeID: 4}, shapeRaw, false},
		{"raw with one descriptor", reply{fds: []int{-1}}, shapeRaw, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.reply.check(tt.want); (err == nil) != tt.ok {
				t.Errorf("error %v", err)
			}
		})
	}
}

// TestReceiveClosesDescriptors sends packets that are refused, with descriptors.
func TestReceiveClosesDescriptors(t *testing.T) {
	many := make([]int, maxFDs)
	for i := range many {
		many[i] = int(os.Stdin.Fd())
	}
	tests := []struct {
		name   string
		packet string
		want   error
	}{
		{"garbage", "{", errMalformed},
		{"one null byte", "\x00", errMalformed},
		{"too long", strings.Repeat(" ", maxReply+1), errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			checkLeaks(t, t.TempDir())
			ours, theirs, err := socketPair()
			if err != nil {
				t.Fatal(err)
			}
			defer ours.Close()
			defer theirs.Close()
			if err := unix.SetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF, 2*maxReply); err != nil {
				t.Fatal(err)
			}
			if err := unix.Sendmsg(int(theirs.Fd()), []byte(tt.packet), unix.UnixRights(many...), nil, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := newWire(ours).receive(); !errors.Is(err, tt.want) {
				t.Errorf("error %v, want %v", err, tt.want)
			}
		})
	}
}

func TestSocketPair(t *testing.T) {
	ours, theirs, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	defer theirs.Close()
	text, err := os.ReadFile("/proc/sys/net/core/wmem_max")
	if err != nil {
		t.Fatal(err)
	}
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	want := min(sendBuffer, limit) // a privileged process gets more: TestFaults' huge replies
	size, err := unix.GetsockoptInt(int(theirs.Fd()), unix.SOL_SOCKET, unix.SO_SNDBUF)
	if err != nil || size < 2*want {
		t.Errorf("send buffer of the child is %d, %v; want %d", size, err, 2*want)
	}
	if ours.LocalAddr().Network() != "unixpacket" {
		t.Errorf("network is %s", ours.LocalAddr().(*net.UnixAddr).Network())
	}
}
