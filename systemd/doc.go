// Package systemd is what the daemon says to the service manager and to the journal.
//
// Notify and Watchdog speak the sd_notify protocol. Both do nothing when the process was not
// started by a service manager that listens (NOTIFY_SOCKET, WATCHDOG_USEC), so callers need not ask
// first. They read the environment at each call and leave it as it is; whoever starts a child takes
// NOTIFY_SOCKET out of the child's environment, or the child could speak for the daemon.
//
// NewLogger is the one place that knows the journal's field names: all other packages log with
// lower-case logrus fields such as "job-id", which read well as text, and the journal gets them as
// OSTREE_IMPORT_JOB_ID.
//
// The folder also holds the unit files that are installed with the daemon.
package systemd
