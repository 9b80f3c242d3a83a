// Command ostree-importctl pulls container images into an OSTree repository,
// tells what is there, and takes care of it.
//
// It is a thin client of the org.ostree.import1 bus name; with --local it does
// the same work in its own process, without bus or daemon. Each verb is a file
// of its own; both ways of doing the work stand behind ask and operation.
package main
