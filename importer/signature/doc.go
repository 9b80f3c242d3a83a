// Package signature decides whether what a reference asks for in the way of signatures can be had,
// and has the signatures of commits checked.
//
// A reference says who vouches for an image (reference.SignatureKind):
//
//	ostree-image-signed       the containers policy, which must not accept by default whatever it does not name
//	ostree-unverified-image   the containers policy, whatever it says
//	ostree-remote-image       an OSTree remote: with its keys the commit inside the image is verified
//
// # Containers policy
//
// The image proxy enforces the policy when it opens an image. PolicyFile is the one place that says
// which file that is: releases of skopeo look in different places, and the proxy runs as another
// user with another environment, so whoever starts it gives it that file. Then CheckPolicy is about
// the policy that is enforced. A proxy too old to enforce policies (skopeo before 1.13) is refused
// by the client that starts it unless the policy accepts every image, which one that CheckPolicy
// passes does not: so a reference that asks for a signature never gets by unchecked.
//
// # Remotes
//
// Check finds out before anything is fetched that a remote is missing or asks for no signature.
// Verify is for the commit, when it has come, and before any of it is written. The signature covers
// the commit with all that it reaches; layers that were put on top of it are not covered by
// anything but the image's digest.
package signature
