#!/usr/bin/env bash
# Part of run.sh, called in mount and process namespaces of its own: runs the
# compiled tests in WORK inside ROOT, which stays as it is.
#
#   enter.sh ROOT WORK SUITE
set -euo pipefail
root=$1 work=$2 suite=$3
source=$PWD
here=$(cd "$(dirname "$0")" && pwd)

scratch=$work/$suite
mkdir -p "$scratch"/{upper,work,root,tmp}
chmod 1777 "$scratch/tmp"
mount -t overlay overlay \
	-o "lowerdir=$root,upperdir=$scratch/upper,workdir=$scratch/work" "$scratch/root"
mkdir -p "$scratch/root/importd/"{source,bin,log}
# Repositories of the tests live on the real file system, not on the overlay.
mount --bind "$scratch/tmp" "$scratch/root/tmp"
mount --bind "$scratch/tmp" "$scratch/root/var/tmp"
mount --bind "$source" "$scratch/root/importd/source"
mount -o remount,bind,ro "$scratch/root/importd/source"
mount --bind "$work/bin" "$scratch/root/importd/bin"
mount --rbind /dev "$scratch/root/dev"
mount --rbind /sys "$scratch/root/sys"
mount -t proc proc "$scratch/root/proc"
# The policy's package can't be configured in every suite's root; its files are the same for all.
mkdir -p "$scratch/root/etc/selinux"
cp -a /etc/selinux/default /etc/selinux/config "$scratch/root/etc/selinux/"
cp "$work/packages" "$here/inside.sh" "$scratch/root/importd/"
exec env -i TERM=dumb LANG=C.UTF-8 HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin \
	IMPORTD_BINDIR=/importd/bin \
	chroot "$scratch/root" /bin/bash /importd/inside.sh "$suite"
