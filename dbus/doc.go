// Package dbus is the daemon's face on the bus: a Server that offers a daemon.Manager as
// org.ostree.import1, and a Client that gives the same Go types back on the other side.
//
// One call:
//
//	reader goroutine   gate looks at the message: refuse it, or let godbus decode it
//	                   callTracker counts the call, in the bus's order; turns counts it for its user
//	own goroutine      turns: wait until it is the user's turn
//	                   Server.handle → resolve the path → look up interface, method, signature → handler → reply
//	after the write    callTracker retires the reply's serial: hooks run (a job starts), the call is no longer counted
//
// Invariants:
//
//   - org.ostree.import1.xml is the one description of the interfaces. It is served as it stands, and a call whose signature is
//     not the one written there never reaches a handler.
//   - Nothing is exported or withdrawn while the server runs: objects are looked up by path in the Manager at each call. (The
//     object map of godbus's default handler is not safe for concurrent use, so the server has its own godbus.Handler.)
//   - Signals tell what GetManagedObjects answers: whoever asks once and follows them knows the images, and the jobs that are
//     not look-ups.
//   - Every descriptor that comes is closed: with the message that no handler reads, with the answer to the call, or by the job
//     that it was opened for. Descriptors are counted and bounded like calls, and closed by goroutines for which nobody waits,
//     since closing a file can take as long as its owner wants: see receiver and descriptors.
//   - The reply that names a new job leaves before the job starts, so before any signal about it. Signals are emitted by one
//     goroutine, in the order of the Manager's events.
//   - The server is idle when no call is counted and no job is queued or running. It gives the name back first and drains
//     then, so that no call is lost; whatever slips in is done.
//   - Conditions that D-Bus has a standard error for use it; all others are org.ostree.import1.Error. and the importer.Kind.
//   - Whatever a message holds, reading it costs no more than its length, and nobody's messages keep root's calls waiting: see
//     gate, turns and refusals. What is larger than a call can be is never decoded.
//   - No message leaves that is larger than a bus takes: the bus would end the connection.
//   - A handler that panics costs its caller an error, not the daemon its life.
package dbus
