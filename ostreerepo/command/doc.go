// Package command starts every program that this project runs.
//
//	Command ── Start ──▶ Process ── Wait ──▶ nil or *Error
//	   └────── Run: Start, feed standard input, stop when the context ends, Wait
//
// # What a program gets
//
//   - Its whole environment comes from here: a fixed search path and locale, a HOME that does not
//     exist unless the caller names one, and what Command.Env lists. Nothing of our own
//     environment reaches it, so that neither LD_PRELOAD nor a plug-in directory, a macro file or
//     a debugging switch does.
//   - It is the leader of a process group, so that a signal to it reaches what it has started, and
//     it dies with us. Command.Foreground programs, which talk to the person at the terminal, stay
//     in our group.
//   - With Command.User it runs as that user, without supplementary groups, and can gain no
//     privileges. With Command.Confined, which is for programs that parse what an image holds, it
//     has neither network nor the sockets below /run, where the kernel lets us arrange that.
//   - Command.Limits bounds what it may use. prlimit(1) sets the limits, because only a process
//     itself may lower them without further capabilities.
//
// docs/security.md lists the programs with what each of them gets.
package command
