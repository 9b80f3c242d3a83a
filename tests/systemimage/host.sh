#!/usr/bin/env bash
# Prints the path of a bare repository whose ref "host" names a commit of a Debian
# system that a host could boot: kernel, initramfs, and an SELinux policy by which
# it is labelled; makes it first if the cache has none.
#
#   host.sh
#
# The cache is IMPORTD_CACHE, by default ~/.cache/ostree-importd. The commit is
# kept until this script changes; remove it to get newer packages.
set -euo pipefail

suite=bookworm
here=$(cd "$(dirname "$0")" && pwd)
cache=${IMPORTD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostree-importd}
key=$(sha256sum <"$here/host.sh" | head -c 12)-$(ostree --version | sha256sum | head -c 6)
host=$cache/host-$key

if [ "$(id -u)" -ne 0 ]; then
	echo "host.sh: a system with its owners can be made by root only: run it with sudo" >&2
	exit 1
fi
mkdir -p "$cache"
exec {lock}>"$cache/host.lock"
flock "$lock"
if [ -d "$host" ]; then
	echo "$host"
	exit 0
fi

work=$cache/host.work
root=$work/root
rm -rf "$cache"/host-* "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

echo "making a host's system in $host" >&2
archive=$(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 'Origin: Debian' | sed -n 1p)
eval "$(apt-config shell valid_until Acquire::Check-Valid-Until/b)"
mmdebstrap --quiet --mode=root --variant=apt \
	--include=linux-image-cloud-amd64,initramfs-tools,systemd-sysv,ostree,ostree-boot,selinux-policy-default,policycoreutils,zstd,libcap2-bin \
	--aptopt="Acquire::Check-Valid-Until \"${valid_until:-true}\"" \
	--aptopt='APT::Install-Recommends "false"' \
	"$suite" "$root" "$archive" >&2

# The places that an OSTree system has its things in.
kernel=$(basename "$root"/lib/modules/*)
mv "$root/boot/vmlinuz-$kernel" "$root/usr/lib/modules/$kernel/vmlinuz"
mv "$root/boot/initrd.img-$kernel" "$root/usr/lib/modules/$kernel/initramfs.img"
rm -rf "${root:?}"/boot/* "$root"/vmlinuz* "$root"/initrd.img* "${root:?}"/dev/* "${root:?}"/run/* "${root:?}"/tmp/*
mkdir -p "$root/usr/lib/sysimage" "$root/sysroot"
mv "$root/var/lib/dpkg" "$root/usr/lib/sysimage/dpkg"
rm -rf "${root:?}/var" && mkdir "$root/var"
mv "$root/etc" "$root/usr/etc"
ln -s sysroot/ostree "$root/ostree"
for name in home opt srv root; do
	rm -rf "${root:?}/$name"
	ln -s "var/$name" "$root/$name"
done
mkdir -p "$root/usr/lib/ostree"
printf '[composefs]\nenabled=maybe\n' >"$root/usr/lib/ostree/prepare-root.conf"
find "$root" \( -type b -o -type c -o -type p -o -type s \) -delete

ostree --repo="$work/repo" init --mode=bare
ostree --repo="$work/repo" commit --branch=host --subject="Debian $suite" \
	--add-metadata-string=version=12 --add-metadata-string=ostree.linux="$kernel" \
	--selinux-policy="$root" --tree=dir="$root" >&2
mv "$work/repo" "$host"
echo "$host"
