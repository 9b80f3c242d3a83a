#!/usr/bin/env bash
# Prints the path of a Debian root; makes it first if the cache has none.
#
#   debian-root.sh SUITE          with everything in it that the test suites run
#   debian-root.sh SUITE bare     with only what the README asks for, except Go
#
# The cache is IMPORTD_CACHE, by default ~/.cache/ostree-importd. A root is kept
# until its list of packages changes; remove it to get a newer one.
set -euo pipefail
suite=${1:?usage: debian-root.sh SUITE [bare]} kind=${2:-full}

case $kind in
full)
	variant=apt
	packages=(
		ostree skopeo umoci docker-registry
		dbus dbus-broker systemd systemd-sysv polkitd
		acl attr ca-certificates e2fsprogs erofs-utils gpg gpg-agent gpgconf libcap2-bin
		libglib2.0-dev-bin mount openssl procps rpm squashfs-tools xz-utils zstd
	)
	;;
bare)
	variant=minbase
	packages=(ca-certificates git make)
	;;
*)
	echo "debian-root.sh: there is no root of kind $kind" >&2
	exit 2
	;;
esac

if [ "$(id -u)" -ne 0 ]; then
	echo "debian-root.sh: a root with its owners can be made by root only: run it with sudo" >&2
	exit 1
fi

# mirror prints the archive that this machine's apt is set up with.
mirror() {
	apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' | sed -n 1p
}

cache=${IMPORTD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostree-importd}/roots
key=$(echo "${packages[*]}" | sha256sum | head -c 12)
root=$cache/$suite-$kind-$key
mkdir -p "$cache"

exec {lock}>"$cache/$suite-$kind.lock"
flock "$lock"
if [ ! -d "$root" ]; then
	archive=$(mirror)
	if [ -z "$archive" ]; then
		apt-get update -qq >&2
		archive=$(mirror)
	fi
	if [ -z "$archive" ]; then
		echo "debian-root.sh: apt has no source of the Debian archive: add one to /etc/apt/sources.list.d" >&2
		exit 1
	fi
	echo "making a $kind root of $suite in $root" >&2
	rm -rf "$cache/$suite-$kind-"*
	include=$(IFS=, && echo "${packages[*]}")
	# The machine's own settings go for the root: a mirror may be a snapshot.
	eval "$(apt-config shell valid_until Acquire::Check-Valid-Until/b check_date Acquire::Check-Date/b)"
	mmdebstrap --quiet --mode=root --variant="$variant" --include="$include" \
		--aptopt="Acquire::Check-Valid-Until \"${valid_until:-true}\"" \
		--aptopt="Acquire::Check-Date \"${check_date:-true}\"" \
		--aptopt='APT::Install-Recommends "false"' \
		"$suite" "$root.partial" "$archive" >&2
	mv "$root.partial" "$root"
fi
echo "$root"
