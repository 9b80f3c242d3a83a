package main

import (
	"context"
	"io"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/ostree-importd/ostree-importd/ostreerepo/command"
)

// agentPath is where polkit installs the program that asks at a terminal.
const agentPath = "/usr/bin/pkttyagent"

// stdin is the descriptor of standard input.
const stdin = 0

// passwordAgent asks at the terminal for the password that polkit wants. It is
// polkit's own pkttyagent, which a desktop's agent precedes. Its zero value is
// ready for use.
type passwordAgent struct {
	once    sync.Once
	process *command.Process
	before  *term.State // of the terminal
}

// start starts the agent and waits until polkit knows it, or ctx ends. Without a
// terminal it does nothing, and so it does where polkit has no such program:
// then polkit refuses, and says so.
func (a *passwordAgent) start(ctx context.Context) {
	a.once.Do(func() {
		if state, err := term.GetState(stdin); err == nil {
			a.process, a.before = startAgent(ctx), state
		}
	})
}

// stop ends the agent. It may be in the middle of a question, and have switched
// the terminal's echo off.
func (a *passwordAgent) stop() {
	if a.process != nil {
		a.process.Stop()
		_ = term.Restore(stdin, a.before)
	}
}

func startAgent(ctx context.Context) *command.Process {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	process, err := command.Start(command.Command{
		Path: agentPath, Args: []string{"--notify-fd", "3", "--fallback"},
		Env: agentEnvironment(), Foreground: true, Files: []*os.File{w},
	})
	w.Close()
	if err != nil {
		return nil
	}
	stop := context.AfterFunc(ctx, func() { r.Close() })
	defer stop()
	// The agent closes the pipe when polkit knows it, and so does its end.
	_, _ = io.Copy(io.Discard, r)
	return process
}

// agentEnvironment names the bus that polkit is on, if it is not the usual one.
func agentEnvironment() []string {
	const name = "DBUS_SYSTEM_BUS_ADDRESS"
	if address, set := os.LookupEnv(name); set {
		return []string{name + "=" + address}
	}
	return nil
}
