// Package reference reads, prints and escapes the names of images and the refs that record them.
//
// There are two kinds of names, both in the syntax of ostree-ext so that its tools and ours
// understand each other's:
//
//	Image      where an image is             docker://registry.example.com/fedora/fedora-bootc:42
//	Reference  that, and how it is verified  ostree-unverified-registry:registry.example.com/fedora/fedora-bootc:42
//
// An Image is recorded in an OSTree repository as the ref ImageRef(image), which is ImagePrefix, a
// slash and the escaped text of Image.String. A layer is BlobRef(digest of its blob).
//
// Invariants: Parse(r.String()) == r and ImageOfRef(ImageRef(i)) == i for everything that Parse and
// ImageRef accept. Nothing is normalised: no default tag, no default registry; two spellings of one
// image are two images. The package does no I/O.
package reference
