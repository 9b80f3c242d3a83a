// Package system tests the daemon as it is shipped: the installed units with
// their hardening, D-Bus activation, polkit and the journal, on a booted Debian.
//
// run.sh makes a root, installs into it, boots it in a container without a
// network, and runs this package's tests as a service inside: make system-test.
// The tests have the build tag "system" because they change the machine that
// they run on.
package system
