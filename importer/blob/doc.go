// Package blob reads the blob of an image layer: as a verified stream of the uncompressed archive,
// and with writers that take the contents of the archive's entries off the reader's hands.
//
// Data flows one way, each arrow a goroutine with a few recycled buffers:
//
//	blob ──▶ size, digest ──▶ decompress ──▶ diffID ──▶ the caller's reader of entries ──▶ writers
//
// Layers of all kinds are read through this package: it knows tar archives as far as it must to
// tell one from garbage, but not what their entries mean.
//
// Invariants:
//
//   - Read returns nil only when the blob was read to its last byte, and its size, its digest and the diffID are right.
//   - Memory does not grow with the layer: what a compressed stream may ask for is bounded, and so is what waits to be written.
//   - Nothing that was started runs on when Read returns.
package blob
