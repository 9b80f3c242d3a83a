// Package ocimodel makes random layered images and says what tree each of them is.
//
// Generate draws an image from a seed: layers of entries, with whatever archives of layers are
// known to hold. Flatten says what a careful runtime makes of them. It is written for being right
// and nothing else, and shares no code and no idea with the importer: it applies one entry after
// the other to a tree in memory, in the image's own paths, and moves the top levels that OSTree has
// elsewhere in the end. The package's tests hold it against another implementation, umoci.
//
// Where the image specification leaves two answers, Generate avoids the question: see checker.
package ocimodel
