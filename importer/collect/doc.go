// Package collect decides which image and layer refs of a repository nothing needs any more.
//
// A layer is needed by the manifest of every image that is stored, deployed or pinned: the commits
// of the refs below ostree/container/image, below ostree/0, ostree/1 and rpmostree/base, and below
// ostree/container/baseimage and ostree/container/pin. Where one of these commits can't be read,
// nobody knows which layers are its own: then every layer that nothing else needs is kept, and the
// reason names what is broken, so that the rest of the decisions stands.
//
// Images too are needed by deployments: see Deployments.
//
// The package only decides. It is the caller who keeps others from changing refs meanwhile, and who
// deletes.
package collect
