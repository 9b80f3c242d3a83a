package main

import (
	"io"
	"strings"
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
		{"jobs without daemon", "--local jobs", "can't be used with --local"},
		{"job that is no number", "cancel one", `"one" is not the number of a job`},
		{"two documents", "show --manifest --config oci:/x", "none of the others can be"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := execute(t.Context(), strings.Fields(test.args), io.Discard)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			if got := exitCode(err); got != exitUsage {
				t.Errorf("exit code %d, want %d", got, exitUsage)
			}
		})
	}
}
