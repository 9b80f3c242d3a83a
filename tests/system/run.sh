#!/usr/bin/env bash
# Boots Debian releases in containers, with the daemon installed as "make
# install" does it, and runs this folder's tests in each as a service.
#
#   run.sh [SUITE...]        default: bookworm trixie sid
#
# BUSES names the implementations of D-Bus to boot with, by default both that
# hosts have: dbus-daemon and dbus-broker. RUN is a pattern of tests, as of
# "go test -run".
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie sid)
read -ra buses <<<"${BUSES:-dbus-daemon dbus-broker}"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/importd-system.XXXXXX")
trap 'rm -rf "$work"' EXIT
CGO_ENABLED=0 go test -c -tags system -o "$work/system.test" ./tests/system
make --no-print-directory build >/dev/null
make --no-print-directory install DESTDIR="$work/install" PREFIX=/usr >/dev/null

failed=0
for suite in "${suites[@]}"; do
	root=$(tests/compat/debian-root.sh "$suite")
	for bus in "${buses[@]}"; do
		started=$SECONDS status=0
		# A mount namespace of its own: what is mounted goes with it.
		unshare --mount "$here/boot.sh" "$root" "$work" "$suite" "$bus" "${RUN:-.}" || status=$?
		echo "== system test in $suite with $bus: exit status $status after $((SECONDS - started)) s"
		[ "$status" -eq 0 ] || failed=1
	done
done
exit "$failed"
