#!/usr/bin/env bash
# Part of run.sh, called inside the bare root: "make TARGET" for each, with the
# time that each takes.
set -euo pipefail
for target in "$@"; do
	started=$SECONDS status=0
	make "$target" || status=$?
	echo "== make $target: exit status $status after $((SECONDS - started)) s"
	[ "$status" -eq 0 ] || exit "$status"
done
