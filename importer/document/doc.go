// Package document reads the two documents of a container image, the OCI manifest and the image config, as far as an import needs
// them, and bounds what they may claim.
package document
