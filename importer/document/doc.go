// Package document reads the two documents of a container image, the OCI manifest and the image
// config, as far as an import needs them, and bounds what they may claim. It also writes documents
// in canonical JSON, the form in which commits hold them.
package document
