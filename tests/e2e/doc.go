// Package e2e holds the end-to-end tests: images go in at one end, through as much of the real
// thing as a test is about, and commits are looked at on the other.
//
//   - random_test.go imports random images and compares the commits with the model of package ocimodel. IMPORTD_SEEDS says
//     which ones, as a number or as FIRST-LAST.
//   - the others drive the daemon on a private bus and a registry on loopback with the commands that people use: what a pull
//     does (pull_test.go), jobs and the daemon's life (job_test.go), bad images (bad_image_test.go), bad registries and networks
//     (fault_test.go), and bad hosts (tool_test.go). Commits as images (encapsulate_test.go, derived_test.go), documents that are
//     large (manifest_test.go), signatures (signature_test.go). What is done with stored images: collect_test.go,
//     verify_test.go, copy_test.go, export_test.go, compare_test.go.
//
// The package's test binary can run on a machine without Go: the commands are then taken from the
// directory that IMPORTD_BINDIR names, and the package's own directory must be the working
// directory.
package e2e
