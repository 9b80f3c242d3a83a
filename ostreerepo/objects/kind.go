package objects

// Kind is the type of an object, spelled as the suffix of its file name.
type Kind string

// The kinds of objects. A content object is KindFile in every repository mode, although an archive
// repository's file ends in "filez".
const (
	KindFile       Kind = "file"
	KindDirTree    Kind = "dirtree"
	KindDirMeta    Kind = "dirmeta"
	KindCommit     Kind = "commit"
	KindCommitMeta Kind = "commitmeta"
)
