#!/usr/bin/env bash
# Runs the tests that use ostree, skopeo and dbus-daemon with the versions of
# them that Debian releases hold.
#
#   run.sh [SUITE...]        default: bookworm trixie sid
#
# PACKAGES names the Go packages to test, by default all that concerns.
#
# The tests and the commands are built here, statically, and run in a root of
# each suite, so the roots need no Go. Prints the versions and a line per
# package; fails if any test fails, and then shows the end of that test's log.
set -euo pipefail
cd "$(dirname "$0")/../.."
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm trixie sid)

# Packages whose tests run commands or read what commands wrote.
read -ra packages <<<"${PACKAGES:-./ostreerepo/... ./proxyclient/... ./importer/... ./daemon/... ./dbus/... ./tests/e2e}"

work=$(mktemp -d "${TMPDIR:-/var/tmp}/importd-compat.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/bin"
export CGO_ENABLED=0
go build -o "$work/bin/" ./cmd/...
go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' "${packages[@]}" |
	sed "s|^$PWD/||" >"$work/packages"
while read -r package; do
	go test -c -o "$work/bin/${package//\//-}.test" "./$package"
done <"$work/packages"

failed=0
for suite in "${suites[@]}"; do
	root=$(tests/compat/debian-root.sh "$suite")
	# A mount namespace of its own: all that is mounted goes with it.
	unshare --mount --pid --fork --kill-child=KILL \
		tests/compat/enter.sh "$root" "$work" "$suite" || failed=1
done
exit "$failed"
