#!/usr/bin/env bash
# Prints the path of an OCI layout that holds a Debian system of more than
# 500 MB in five layers under the tags "gzip" and "zstd"; makes it first if the
# cache has none.
#
#   image.sh
#
# The layers are made by a package manager and by hand in a way that yields what
# images in the field hold: whiteouts of files and directories, an opaque
# directory, hard links, setuid and setgid files, file capabilities, ACLs,
# several xattrs on a file, and entries that change their type.
#
# The cache is IMPORTD_CACHE, by default ~/.cache/ostree-importd. The image is
# kept until this script changes; remove it to get newer packages.
set -euo pipefail

suite=bookworm
here=$(cd "$(dirname "$0")" && pwd)
cache=${IMPORTD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/ostree-importd}
key=$(cat "$here/image.sh" "$here/configure.sh" | sha256sum | head -c 12)
image=$cache/system-image-$key

if [ "$(id -u)" -ne 0 ]; then
	echo "image.sh: an image with its owners can be made by root only: run it with sudo" >&2
	exit 1
fi
mkdir -p "$cache"
exec {lock}>"$cache/system-image.lock"
flock "$lock"
if [ -d "$image" ]; then
	echo "$image"
	exit 0
fi

work=$cache/system-image.work
bundle=$work/bundle
rootfs=$bundle/rootfs
rm -rf "$cache"/system-image-* "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT

# inside CREATED-BY-COMMAND... runs a command in the root file system.
inside() {
	systemd-nspawn --quiet --register=no --keep-unit --pipe \
		--link-journal=no --timezone=off --resolv-conf=replace-host \
		--setenv=DEBIAN_FRONTEND=noninteractive --directory="$rootfs" "$@" >&2
}

# layer NAME makes a layer of what changed in the root file system.
layer() {
	echo "layer $1" >&2
	# Device nodes, sockets and pipes cannot be in an OSTree commit, and images
	# have no business with them: the runtime makes those that are needed.
	find "$rootfs" \( -type b -o -type c -o -type p -o -type s \) -delete
	umoci repack --refresh-bundle --history.created_by "$1" --image "$work/oci:gzip" "$bundle" >&2
}

echo "making a system image in $image" >&2
umoci init --layout "$work/oci" >&2
umoci new --image "$work/oci:gzip" >&2
umoci unpack --image "$work/oci:gzip" "$bundle" >&2
"$here/../compat/debian-root.sh" "$suite" >"$work/base"
cp -a "$(cat "$work/base")/." "$rootfs/"
layer "debian $suite"

inside apt-get -qq update
inside apt-get -qq -y --no-install-recommends install \
	emacs-nox g++ git locales man-db openssh-server perl python3 vim
inside apt-get -qq -y clean
layer 'apt-get install'

inside apt-get -qq -y purge git vim vim-runtime
inside apt-get -qq -y autoremove
inside apt-get -qq -y --no-install-recommends install gdb nginx-light
inside apt-get -qq -y clean
layer 'apt-get purge, apt-get install'

inside sh -s <"$here/configure.sh"
# What the path rules drop. Inside, these are file systems of their own.
for directory in run tmp; do
	mkdir -p "$rootfs/$directory/importd"
	echo 'not for a commit' >"$rootfs/$directory/importd/file"
done
layer 'configure'

mkdir "$work/doc"
echo 'The documentation is on the web.' >"$work/doc/README"
umoci insert --opaque --history.created_by 'drop the documentation' \
	--image "$work/oci:gzip" "$work/doc" /usr/share/doc >&2

skopeo copy --quiet --dest-compress-format zstd "oci:$work/oci:gzip" "oci:$work/zstd:zstd" >&2
skopeo copy --quiet "oci:$work/zstd:zstd" "oci:$work/oci:zstd" >&2
umoci gc --layout "$work/oci" >&2
mv "$work/oci" "$image"
echo "$image"
