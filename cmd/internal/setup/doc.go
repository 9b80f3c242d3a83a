// Package setup wires the packages together in the one way that both commands
// share: which repository, which user the proxy runs as, and how the proxy's
// errors become the importer's.
package setup

// Version is the program's version; the build sets it.
var Version = "unknown"
