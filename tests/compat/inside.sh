#!/usr/bin/env bash
# Part of run.sh, called inside a Debian root: runs the tests, a line for each.
set -euo pipefail
suite=$1
ostree=$(ostree --version | sed -n "s/^ *Version: '\(.*\)'/\1/p")
echo "== $suite: ostree $ostree, $(skopeo --version)"

failed=0
while read -r package; do
	log=/importd/log/${package//\//-}.log
	started=$SECONDS
	verdict=ok
	(cd "/importd/source/$package" &&
		"/importd/bin/${package//\//-}.test" -test.timeout 20m) >"$log" 2>&1 || verdict=FAIL
	printf '%-5s %-24s %4d s  %s\n' "$verdict" "$package" $((SECONDS - started)) "$(sed -n '$p' "$log")"
	if [ "$verdict" = FAIL ]; then
		failed=1
		tail -n 100 "$log" | cut -c 1-500
	fi
done </importd/packages
exit "$failed"
