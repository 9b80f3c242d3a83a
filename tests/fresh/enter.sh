#!/usr/bin/env bash
# Part of run.sh, called in mount and process namespaces of its own: makes ROOT
# the root directory and runs "make" there for each of TARGETS.
#
#   enter.sh ROOT CACHE SUITE TARGETS
set -euo pipefail
root=$1 cache=$2 suite=$3 targets=$4
go=$(go env GOROOT)
modules=$(go env GOMODCACHE)/cache/download

# show gives the root a directory of this machine.
show() {
	mkdir -p "$root$2"
	mount --bind "$1" "$root$2"
}

mount --bind "$root" "$root"
show "$go" /usr/local/go
mount -o remount,bind,ro "$root/usr/local/go"
show "$cache/archives" /var/cache/apt/archives
show "$cache/go-build" /root/.cache/go-build
proxy=$(go env GOPROXY)
if [ -d "$modules" ]; then # first those that this machine has downloaded
	show "$modules" /var/cache/go-modules
	mount -o remount,bind,ro "$root/var/cache/go-modules"
	proxy=file:///var/cache/go-modules,$proxy
fi
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
mount -t tmpfs -o mode=0755 tmpfs "$root/run"
# Debian 13 and later have /tmp on a file system of its own, in memory.
case $suite in
bookworm) ;;
*) mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp" ;;
esac

# The way to the network.
cat /etc/resolv.conf >"$root/etc/resolv.conf"
cat /etc/hosts >"$root/etc/hosts"
if [ -e /etc/ssl/certs/ca-certificates.crt ]; then
	cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
fi
environment=("GOPROXY=$proxy")
for name in GOFLAGS GOINSECURE GONOPROXY GONOSUMDB GOPRIVATE GOSUMDB; do
	environment+=("$name=$(go env "$name")")
done
for name in {http,https,no}_proxy {HTTP,HTTPS,NO}_PROXY; do
	[ -z "${!name:-}" ] || environment+=("$name=${!name}")
done

mkdir -p "$root/machine"
cd "$root"
pivot_root . machine
umount --lazy /machine
rmdir /machine
cd /usr/src/ostree-importd
# shellcheck disable=SC2086 # several targets
exec env -i TERM=dumb LANG=C.UTF-8 HOME=/root GOTOOLCHAIN=local "${environment[@]}" \
	PATH=/usr/local/go/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	/bin/bash tests/fresh/inside.sh $targets
