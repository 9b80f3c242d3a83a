#!/usr/bin/env bash
# Part of run.sh, called in a mount namespace of its own: installs into a layer
# over ROOT, boots it, and exits as the tests in it did.
#
#   boot.sh ROOT WORK SUITE BUS PATTERN
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$1 work=$2 suite=$3 bus=$4 pattern=$5

machine=$work/$suite-$bus
mkdir -p "$machine"/{upper,work,root,state}
mount -t overlay overlay \
	-o "lowerdir=$root,upperdir=$machine/upper,workdir=$machine/work" "$machine/root"
cp -a "$work/install/." "$machine/root/"
install -D "$work/system.test" "$machine/root/importd/system.test"
install -m644 "$here/../../docs/dbus-api.md" "$here/../../README.md" "$machine/root/importd/"
# What a package does when it is installed.
chroot "$machine/root" systemd-sysusers

units=$machine/root/etc/systemd/system
mkdir -p "$units/multi-user.target.wants"
# The tests run a registry of their own, and have the console for themselves.
ln -sf /dev/null "$units/docker-registry.service"
ln -sf /dev/null "$units/console-getty.service"
rm -f "$units/dbus.service"
case $bus in
dbus-daemon) ;; # what dbus.service is
dbus-broker) ln -s /lib/systemd/system/dbus-broker.service "$units/dbus.service" ;;
*) echo "boot.sh: $bus is no implementation of D-Bus" >&2 && exit 2 ;;
esac
cat >"$units/importd-test.service" <<-END
	[Unit]
	Description=System test of ostree-importd
	After=dbus.service systemd-journald.service
	SuccessAction=exit
	FailureAction=exit
	[Service]
	Type=oneshot
	WorkingDirectory=/importd
	Environment=TMPDIR=/var/tmp HOME=/root BUS=$bus
	ExecStart=/importd/system.test -test.v -test.timeout=10m -test.run='$pattern'
	StandardOutput=tty
	StandardError=tty
END
ln -s ../importd-test.service "$units/multi-user.target.wants/"

echo "== $suite with $bus: $(chroot "$machine/root" systemctl --version | sed -n 1p)"
# The repository lives on the machine's file system: an overlay is not what
# hosts have.
TERM=dumb SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 exec systemd-nspawn --quiet --boot \
	--register=no --keep-unit --private-network --link-journal=no --timezone=off \
	--resolv-conf=off --machine=importd-test --console=read-only \
	--directory="$machine/root" --bind="$machine/state:/sysroot" \
	systemd.show_status=no </dev/null
