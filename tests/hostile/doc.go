// Package hostile asks a daemon on a private bus for some 370 things that nobody should ask for:
// images, documents, references, options and bus messages that are made to hurt, and registries
// that misbehave.
//
// Each is a row of a table with the name of the error that it must end with, and bounds of time and
// of the daemon's memory. After each row the daemon must be the same process, and no image may have
// appeared that should not. At the end the repository must be sound and nothing may be left in its
// tmp directory.
//
// The tests have the build tag "hostile" because they take minutes: make hostile.
package hostile
