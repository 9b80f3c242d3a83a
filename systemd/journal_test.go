package systemd

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/coreos/go-systemd/v22/journal"
	"github.com/sirupsen/logrus"
)

// probe builds the program that logs, with the journal's socket moved to the given place.
func probe(t *testing.T, socket string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "logprobe")
	build := exec.Command("go", "build", "-o", binary,
		"-ldflags", "-X github.com/coreos/go-systemd/v22/journal.journalSocket="+socket, "./testdata/logprobe")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return exec.Command(binary)
}

// journalStream makes a file that passes for the journal's stream: the variable names its device
// and inode.
func journalStream(t *testing.T) (file *os.File, variable string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = file.Close() })
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	stat := info.Sys().(*syscall.Stat_t)
	return file, fmt.Sprintf("JOURNAL_STREAM=%d:%d", stat.Dev, stat.Ino)
}

func TestLoggerToJournal(t *testing.T) {
	conn := listen(t)
	cmd := probe(t, os.Getenv("NOTIFY_SOCKET"))
	stderr, variable := journalStream(t)
	cmd.Stderr, cmd.Env = stderr, append(os.Environ(), variable)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	records := []struct {
		name string
		want []string
	}{
		{"fields", []string{
			"PRIORITY=6\n", "MESSAGE=job started\n", "SYSLOG_IDENTIFIER=ostree-importd\n", "OSTREE_IMPORT_JOB_ID=7\n",
			"CALLER_UID=1000\n", "CALLER_UNIT=timer.service\n", "MESSAGE_ID=b8428bad344f4384abf3b79d9bf8a1e7\n",
		}},
		{"error with a newline", []string{
			"PRIORITY=3\n", "MESSAGE\n", "job failed: line one\nline two\n", "OSTREE_IMPORT_ERROR\n",
		}},
		{"nothing below the level", []string{"PRIORITY=4\n", "MESSAGE=last\n"}},
	}
	for _, record := range records {
		t.Run(record.name, func(t *testing.T) {
			got := receive(t, conn)
			for _, want := range record.want {
				if !strings.Contains(got, want) {
					t.Errorf("record lacks %q:\n%s", want, got)
				}
			}
		})
	}
	text, err := os.ReadFile(stderr.Name())
	if err != nil || len(text) > 0 {
		t.Errorf("also written to standard error: %q, %v", text, err)
	}
}

func TestLoggerJournalGone(t *testing.T) {
	cmd := probe(t, filepath.Join(t.TempDir(), "missing"))
	stderr, variable := journalStream(t)
	cmd.Stderr, cmd.Env = stderr, append(os.Environ(), variable)
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(stderr.Name())
	if want := "job started\njob failed: line one\nline two\nlast\n"; err != nil || string(text) != want {
		t.Errorf("standard error has %q, %v, want %q", text, err, want)
	}
}

func TestLoggerToText(t *testing.T) {
	t.Setenv("JOURNAL_STREAM", "")
	logger := NewLogger(logrus.InfoLevel)
	var out bytes.Buffer
	logger.SetOutput(&out)
	logger.WithFields(logrus.Fields{"job-id": 7, "message-id": "b8428bad344f4384abf3b79d9bf8a1e7"}).Info("job started")
	logger.Debug("below the level")
	line := out.String()
	if !strings.Contains(line, `msg="job started" job-id=7`) || strings.Count(line, "\n") != 1 || strings.Contains(line, messageID) {
		t.Errorf("wrote %q", line)
	}
}

func TestJournalField(t *testing.T) {
	tests := []struct{ key, want string }{
		{"job-id", "OSTREE_IMPORT_JOB_ID"},
		{"manifest-digest", "OSTREE_IMPORT_MANIFEST_DIGEST"},
		{"message-id", "MESSAGE_ID"},
		{"caller-uid", "CALLER_UID"},
		{"caller-unit", "CALLER_UNIT"},
		{"error", "OSTREE_IMPORT_ERROR"},
		{"_odd näme.2", "OSTREE_IMPORT__ODD_N_ME_2"},
	}
	for _, tt := range tests {
		t.Run(tt.key, func(t *testing.T) {
			if got := journalField(tt.key); got != tt.want {
				t.Errorf("journalField = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPriority(t *testing.T) {
	want := map[logrus.Level]journal.Priority{
		logrus.PanicLevel: journal.PriCrit,
		logrus.FatalLevel: journal.PriCrit,
		logrus.ErrorLevel: journal.PriErr,
		logrus.WarnLevel:  journal.PriWarning,
		logrus.InfoLevel:  journal.PriInfo,
		logrus.DebugLevel: journal.PriDebug,
		logrus.TraceLevel: journal.PriDebug,
	}
	for _, level := range logrus.AllLevels {
		t.Run(level.String(), func(t *testing.T) {
			if got := priority(level); got != want[level] {
				t.Errorf("priority = %d, want %d", got, want[level])
			}
		})
	}
}
