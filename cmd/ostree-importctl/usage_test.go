package main

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestUsageErrors(t *testing.T) {
	for _, test := range []struct {
		name string
		args string
		want string
	}{
		{"unknown option", "pull --frobnicate oci:/x", "unknown flag: --frobnicate"},
		{"unknown verb", "frobnicate", `unknown command "frobnicate"`},
		{"no image", "pull", "pull takes one argument, not 0"},
		{"two images", "show a b", "show takes one argument, not 2"},
		{"bad digest", "pull --digest=abc docker://h/x", "sha256:<64 hex digits>"},
		{"negative jobs", "pull --jobs=-1 docker://h/x", "at least 1"},
		{"bad reference", "pull --local foo:", `"foo:"`},
		{"two buses", "--system --session images", "none of the others can be"},
		{"repository of the daemon", "--repo=/x images", "--repo needs --local"},
		{"memory of the daemon", "--memory=100 images", "--memory needs --local"},
		{"too little memory", "--local --memory=1 images", "1 MiB of memory for images are out of range, want 64"},
		{"negative memory", "--local --memory=-1 images", "out of range"},
		{"jobs without daemon", "--local jobs", "can't be used with --local"},
		{"job that is no number", "cancel one", `"one" is not the number of a job`},
		{"no destination", "encapsulate os", "encapsulate takes 2 arguments, not 1"},
		{"empty label name", "encapsulate --label==x os oci:/x", "--label==x: it is written name=value"},
		{"label without a value", "encapsulate --label=x os oci:/x", "--label=x: it is written name=value"},
		{"no layers", "encapsulate --max-layers=0 os oci:/x", "--max-layers=0: it is at least 1"},
		{"one of many layers", "encapsulate --max-layers=2 --single-layer os oci:/x", "none of the others can be"},
		{"no level", "encapsulate --compression-level=0 os oci:/x", "--compression-level=0: it is at least 1"},
		{"no level of an export", "export --compression-level=-1 docker://h/x oci:/x", "--compression-level=-1: it is at least 1"},
		{"unknown destination", "encapsulate os foo:", `"foo:"`},
		{"file without a name", "export oci:/x tar:", `"tar:": a file has to follow`},
		{"copy to nowhere", "copy oci:/x", "copy needs --to-repo=PATH"},
		{"nothing to remove", "remove", "remove takes at least one argument, not 0"},
		{"what to keep of layers", "gc --keep-last=2", "they need --images"},
		{"quota of layers", "gc --quota=2G", "they need --images"},
		{"keep nothing by accident", "gc --images", "--images needs --keep-last=NUMBER"},
		{"keep less than nothing", "gc --images --keep-last=-1", "--keep-last=-1: it is at least 0"},
		{"quota that is no size", "gc --images --keep-last=1 --quota=2X", "--quota=2X: it is a number of bytes"},
		{"jobs of a repair", "verify --jobs=-1", "at least 1"},
		{"three images", "diff a b c", "diff takes 1 to 2 arguments, not 3"},
		{"digest of a commit's image", "unencapsulate --digest=abc docker://h/x", "sha256:<64 hex digits>"},
		{"two documents", "show --manifest --config oci:/x", "none of the others can be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := execute(t.Context(), strings.Fields(test.args), discard{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if got := exitCode(err); got != exitUsage {
				t.Errorf("exit code %d, want %d", got, exitUsage)
			}
		})
	}
}

// discard is a standard output that takes everything.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) Close() error                { return nil }

// full is a standard output that takes nothing.
type full struct{ discard }

func (full) Write([]byte) (int, error) { return 0, syscall.ENOSPC }

// TestUnprintedHelpIsAFailure walks all that is printed without a daemon.
func TestUnprintedHelpIsAFailure(t *testing.T) {
	lines := []string{"--version", "--help", "", "help pull", "completion bash", "completion zsh", "completion fish",
		"completion powershell", "completion --help", "__complete pu", "__completeNoDesc pull --co"}
	for _, verb := range rootCommand().Commands() {
		lines = append(lines, verb.Name()+" --help")
	}
	for _, line := range lines {
		t.Run(line, func(t *testing.T) {
			err := execute(t.Context(), strings.Fields(line), full{})
			if !errors.Is(err, syscall.ENOSPC) || exitCode(err) != exitFailed {
				t.Errorf("error %v, exit code %d", err, exitCode(err))
			}
			if err := execute(t.Context(), strings.Fields(line), discard{}); err != nil {
				t.Errorf("with a standard output: %v", err)
			}
		})
	}
}
