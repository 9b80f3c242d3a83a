// Package systemimage imports a whole Debian system through a registry, the bus
// and the daemon, and compares every entry of the commit with what an OCI
// runtime unpacks from the same image.
//
// image.sh makes the image and keeps it in a cache. The tests have the build tag
// "systemimage", because they need root, mmdebstrap, umoci and some minutes:
// make system-image-test. The benchmarks of the same package give the figures in
// docs/figures.md: make system-image-bench.
package systemimage
