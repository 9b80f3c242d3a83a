#!/usr/bin/env bash
# Runs every fuzz target of the module with that many inputs, or for that time:
# fuzz.sh 5000x. A count is better where a failure counts: "go test" reports a target
# that is at work when its time ends as failed, "context deadline exceeded".
set -euo pipefail
time=${1:?usage: fuzz.sh COUNTx|TIME}
grep -rlE '^func Fuzz[A-Za-z0-9_]*\(' --include='*_test.go' . | sort | while read -r file; do
	package=$(dirname "$file")
	sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' "$file" | while read -r target; do
		echo "fuzz $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -fuzzminimizetime 1x "$package" </dev/null
	done
done
