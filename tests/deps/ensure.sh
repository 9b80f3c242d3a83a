#!/usr/bin/env bash
# Sees to it that commands and files which the project's targets need are there.
#
#   ensure.sh COMMAND-OR-FILE...
#
# A name that begins with a slash is a file's. On Debian and its kin missing
# ones are installed with apt-get (through sudo when not root); elsewhere they
# are named, with the packages that hold them, and the script fails.
set -euo pipefail

# Debian package of a command, where it is not called like the command, or of a
# file. That of the SELinux policy doesn't switch SELinux on.
package_of() {
	case "$1" in
	dbus-daemon | dbus-send) echo dbus ;;
	busctl | systemd-analyze) echo systemd ;;
	systemd-nspawn) echo systemd-container ;;
	setfattr | getfattr) echo attr ;;
	setcap | getcap) echo libcap2-bin ;;
	mkfs.ext4) echo e2fsprogs ;;
	mksquashfs | sqfstar | unsquashfs) echo squashfs-tools ;;
	mkfs.erofs) echo erofs-utils ;;
	xz) echo xz-utils ;;
	xmllint) echo libxml2-utils ;;
	setpriv | unshare | mount | pivot_root) echo util-linux ;;
	cc) echo build-essential ;;
	pgrep) echo procps ;;
	gdbus-codegen) echo libglib2.0-dev-bin ;;
	rpmbuild) echo rpm ;;
	dpkg-query) echo dpkg ;;
	/etc/selinux/default/*) echo selinux-policy-default ;;
	*) echo "$1" ;;
	esac
}

PATH=$PATH:/usr/sbin:/sbin
missing=()
for command in "$@"; do
	case "$command" in
	/*) [ -e "$command" ] || missing+=("$command") ;;
	*) command -v "$command" >/dev/null || missing+=("$command") ;;
	esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

packages=()
for command in "${missing[@]}"; do packages+=("$(package_of "$command")"); done
mapfile -t packages < <(printf '%s\n' "${packages[@]}" | sort -u)

if ! command -v apt-get >/dev/null; then
	echo "missing: ${missing[*]}" >&2
	echo "install them first; on Debian they are in the packages: ${packages[*]}" >&2
	exit 1
fi
run=()
if [ "$(id -u)" -ne 0 ]; then run=(sudo); fi
echo "installing: ${packages[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
"${run[@]}" apt-get update -qq
"${run[@]}" apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
