// Package daemon runs imports and the importer's other operations as jobs: it starts, shares,
// cancels and reports them, keeps prepared plans, and remembers both across a restart of the
// process. It knows nothing of the bus; package dbus shows what is here to callers.
//
// # Flow of a job
//
// Import, Prepare, ImportPrepared and the methods of operations.go hand out a *Job. The job starts
// to exist for others when its creator calls Job.Start, so that a caller can be given the job's id
// before any event names it. Jobs wait in lanes, each with some slots, in the order of their ids,
// except that jobs which set the same ref run one after the other and that one user does not get
// all slots of imports; see lanes.go. A job outlives its caller. It ends with a result and is
// retained for a while, so that a caller who comes late can still ask how it went; but a comparison
// or a check for updates is an answer for those who wait for it, and its job is forgotten at its
// end.
//
// Equal requests share a job while it is queued or running: the same type, the same request and,
// for an import of a stored plan, the same manifest. A call with a transaction id that is known
// gets that transaction's job, finished or not.
//
// # Invariants
//
//   - One mutex guards all jobs and plans, so that every change, its record on disk and its events have one order. What
//     is done under it is short: small files in a directory that is meant to be on tmpfs, log records, and appending to
//     queues.
//   - Events are appended, never sent, under the mutex: no subscriber can hold up a job.
//   - Job ids are never used twice while StateDir lives: the counter is on disk before an id is given out. A prepared
//     plan has the id of the job that made it.
//   - After a crash no job is left behind: what was not finished becomes failed with importer.KindInterrupted at the
//     next start. The repository needs no repair; repeating the import takes up the layers that were complete.
//   - Broken files in StateDir are moved aside and reported in the log. They never hinder the start.
//   - A panic in a job's goroutine fails that job with importer.KindFailed and logs the stack: one image that brings
//     out a mistake must not take the service away from all others. What the importer left half done is invisible in
//     the repository.
//
// # State directory
//
//	next-job          the next job id, in decimal
//	jobs/N.json       one job: its status, its request and its transaction ids
//	prepared/N.json   one prepared plan
package daemon
