// Package merge overlays layer commits into one tree, as OCI images define it.
//
// The merged tree is lazy: a directory is read when a layer changes something in it, and only
// changed directories are written. Everything else stays the dirtree that the layer brought. A
// merge therefore costs what the layers change, not what the image holds.
//
// Each layer is overlaid in two passes. The first walks the directories that hold markers, and
// hides what they name from the tree so far; the second adds the layer's own entries. So a marker
// acts on lower layers only, wherever it stood in the archive, and an entry of the same name in the
// same layer survives it.
//
//   - .wh.NAME hides NAME, .wh..wh..opq hides all that lower layers have in its directory. Names with the prefix .wh. never
//     reach the merged tree.
//   - A directory entry on an existing directory replaces its mode, owner and xattrs and keeps its children. A directory that
//     the layer only implies changes nothing that exists, and one that holds only markers isn't created.
//   - A non-directory replaces a directory with all below it, a listed directory replaces a non-directory.
//   - An implied directory that meets a symbolic link of a lower layer is the link's target: what is below it lands there, as
//     it does where a runtime unpacks the archive. Targets are resolved inside the image, and created where they are missing.
//
// A base, the tree of a commit that layers are put on, is no layer: all its names are those of
// files.
//
// With a policy every entry of the merged tree has the label that its path has there, provided that
// base and layers have theirs: what the merge makes itself is labelled, and what a symbolic link
// takes to another place is labelled anew.
//
// Empty files etc/hostname and etc/resolv.conf are left out of the merged tree: see tidy.
//
// Layer commits hold /etc as usr/etc and, by rule, /var as usr/share/factory/var. Package layertree
// undoes that for each layer, and unplace for a base, so that everything is merged as the image has
// it. In the end the two are put back, over what the image has at their places itself.
//
// Entries that no tree can hold come last, in the order of the layer's archive. A hard link is what
// the lower layers have at its target, also if the same layer hides or replaces that.
package merge
