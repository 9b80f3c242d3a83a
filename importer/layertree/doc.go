// Package layertree reads a layer commit as the tree that the image's layer has.
//
// The path rules put etc at usr/etc in a commit, for example. Here it is etc again, beside what the
// image has at usr/etc itself. Markers are where they were written, so that they hide what they
// were meant for. What a tree can't hold, such as a hard link to a file of a lower layer, comes
// from the commit's archive of more entries.
//
// Only the directories that differ from those of the commit are made, in memory. Nothing is
// written.
package layertree
