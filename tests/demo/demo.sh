#!/usr/bin/env bash
# Shows the main job in a minute: makes a small layered image and an empty
# repository, starts a private bus that starts the daemon on demand, pulls the
# image, and shows the commit and its files. Leaves nothing behind.
#
#   demo.sh DIRECTORY-OF-THE-COMMANDS
set -Eeuo pipefail

bin=$(realpath "${1:?usage: demo.sh DIRECTORY-OF-THE-COMMANDS}")
work=$(mktemp -d)
chmod 0755 "$work" # the proxy runs as another user
export DBUS_SESSION_BUS_ADDRESS=unix:path=$work/bus
bus=
cleanup() {
	if [ -n "$bus" ]; then
		kill "$bus"
		wait "$bus" || true
	fi
	rm -rf "$work"
}
trap cleanup EXIT
trap 'cat "$work/log" >&2' ERR

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
run() {
	printf '\n$ %s\n' "${*/$bin\//}"
	"$@"
}

# blob FILE: adds a file to the image's blobs; sets digest and size.
blob() {
	digest=$(sha256sum "$1" | cut -d ' ' -f 1)
	size=$(stat -c %s "$1")
	mv "$1" "$image/blobs/sha256/$digest"
}

# layer NAME: the directory NAME becomes the image's next layer.
layer() {
	tar -C "$work/$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf "$work/$1.tar" .
	diff_ids+=("\"sha256:$(sha256sum "$work/$1.tar" | cut -d ' ' -f 1)\"")
	gzip -n "$work/$1.tar"
	blob "$work/$1.tar.gz"
	layers+=("{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar+gzip\",\"digest\":\"sha256:$digest\",\"size\":$size}")
}

join() { local IFS=,; echo "$*"; }

make_image() {
	image=$work/image diff_ids=() layers=()
	mkdir -p "$image/blobs/sha256" "$work"/base/{usr/bin,usr/share/doc,etc,var/lib} "$work"/update/{usr/share/doc,etc}

	printf '#!/bin/sh\ncat /etc/greeting\n' >"$work/base/usr/bin/hello"
	chmod 0755 "$work/base/usr/bin/hello"
	echo 'Hello from the base layer' >"$work/base/etc/greeting"
	echo 'To be removed by the next layer' >"$work/base/usr/share/doc/draft"
	layer base

	echo 'Hello from the second layer' >"$work/update/etc/greeting"
	: >"$work/update/usr/share/doc/.wh.draft"
	echo 'Added by the second layer' >"$work/update/usr/share/doc/manual"
	layer update

	echo "{\"created\":\"2026-01-01T00:00:00Z\",\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Labels\":{\"org.opencontainers.image.version\":\"1.0\"}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[$(join "${diff_ids[@]}")]},\"history\":[{\"created_by\":\"the base\"},{\"created_by\":\"an update\"}]}" >"$work/config"
	blob "$work/config"
	echo "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size},\"layers\":[$(join "${layers[@]}")]}" >"$work/manifest"
	blob "$work/manifest"
	echo "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"sha256:$digest\",\"size\":$size,\"annotations\":{\"org.opencontainers.image.ref.name\":\"demo\"}}]}" >"$image/index.json"
	echo '{"imageLayoutVersion":"1.0.0"}' >"$image/oci-layout"
}

start_bus() {
	cat >"$work/bus.conf" <<-END
		<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN" "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
		<busconfig>
		  <type>session</type>
		  <listen>unix:path=$work/bus</listen>
		  <auth>EXTERNAL</auth>
		  <servicedir>$work/services</servicedir>
		  <policy context="default">
		    <allow send_destination="*" eavesdrop="true"/>
		    <allow eavesdrop="true"/>
		    <allow own="*"/>
		  </policy>
		</busconfig>
	END
	mkdir "$work/services"
	cat >"$work/services/org.ostree.import1.service" <<-END
		[D-BUS Service]
		Name=org.ostree.import1
		Exec=$bin/ostree-importd --session --repo=$work/repo --state-dir=$work/state --log-level=warning
	END
	mkfifo "$work/ready"
	dbus-daemon --config-file="$work/bus.conf" --nofork --print-address=3 3>"$work/ready" 2>"$work/log" &
	bus=$!
	# The bus prints its address when it listens.
	read -r _ <"$work/ready"
}

say 'An image of two layers: the second changes a file, adds one and removes one'
make_image
run ostree --repo="$work/repo" init --mode=bare-user
start_bus

ctl=("$bin/ostree-importctl" --session)
say 'What would a pull do? The call starts the daemon.'
run "${ctl[@]}" prepare "oci:$work/image:demo"
say 'Pull it'
run "${ctl[@]}" pull "oci:$work/image:demo"
say 'A second pull has nothing to do'
run "${ctl[@]}" pull "oci:$work/image:demo"
say 'What is stored, by command and by bus call'
run "${ctl[@]}" images
run busctl --user --no-pager call org.ostree.import1 /org/ostree/import1 org.ostree.import1.Manager ListImages

say 'Is it sound? Is anything there that nothing needs?'
run "${ctl[@]}" verify
run "${ctl[@]}" gc --dry-run

say 'The commit in the repository'
ref=$(ostree --repo="$work/repo" refs --list | grep '^ostree/container/image/')
run ostree --repo="$work/repo" refs
run ostree --repo="$work/repo" ls -R "$ref"
run ostree --repo="$work/repo" cat "$ref" /usr/etc/greeting
run ostree --repo="$work/repo" fsck --quiet
