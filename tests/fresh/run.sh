#!/usr/bin/env bash
# Runs "make demo" and "make check" as on a fresh machine: in a bare Debian root
# that holds only what the README asks for, on a copy of this tree.
#
#   run.sh [SUITE...]        default: bookworm
#
# TARGETS names other targets of make. Nothing that is installed here can help:
# the root has Go, and from this machine only its way to the network. What is
# kept for the next run is below the cache of debian-root.sh: downloaded
# packages and Go's build cache.
set -euo pipefail
cd "$(dirname "$0")/../.."
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(bookworm)
cache=${IMPORTD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostree-importd}/fresh

# The root lives on a real file system, as a machine's does: an overlay differs.
work=$(mktemp -d "${TMPDIR:-/var/tmp}/importd-fresh.XXXXXX")
trap 'rm -rf --one-file-system "$work"' EXIT

# copy_tree copies the tree with its history, its uncommitted changes and its new files.
copy_tree() {
	local copy=$1
	git clone --quiet --no-hardlinks . "$copy"
	git diff --binary HEAD | git -C "$copy" apply --allow-empty
	git ls-files -z --others --exclude-standard |
		tar --create --null --files-from=- | tar --extract --directory="$copy"
}

failed=0
for suite in "${suites[@]}"; do
	bare=$(tests/compat/debian-root.sh "$suite" bare)
	started=$SECONDS
	cp -a --reflink=auto "$bare" "$work/$suite"
	copy_tree "$work/$suite/usr/src/ostree-importd"
	mkdir -p "$cache/$suite/archives/partial" "$cache/$suite/go-build"
	rm -rf "$cache/$suite/go-build/fuzz" # a fresh machine has no corpus
	echo "== fresh $suite: the root is ready after $((SECONDS - started)) s"
	# Namespaces of its own: what is mounted or left running goes with them.
	unshare --mount --pid --fork --kill-child=KILL \
		tests/fresh/enter.sh "$work/$suite" "$cache/$suite" "$suite" "${TARGETS:-demo check}" || {
		echo "fresh $suite: exit status $?" >&2
		failed=1
	}
	rm -rf --one-file-system "${work:?}/$suite"
done
exit "$failed"
