package merge

import "github.com/ostree-importd/ostree-importd/importer/layertar"

type mergeCase struct {
	name    string
	rules   layertar.Rules
	foreign bool // the layers were written by another tool
	whole   bool // not to be merged in parts: of what the layers say a base doesn't keep all
	base    []string
	layers  [][]string
	want    []string
}

var mergeCases = []mergeCase{
	{
		name:   "one layer is taken as it is",
		layers: [][]string{{"d . 711", "d a 700 5", "f a/x 1", "l b a/x"}},
		want:   []string{"d . 711", "d a 700 5", "f a/x 1", "l b a/x"},
	},
	{
		name:   "no layer lists the root",
		layers: [][]string{{"f a/x 1"}, {"f a/y 2"}},
		want:   []string{"f a/x 1", "f a/y 2"},
	},
	{
		name:   "an empty layer changes nothing",
		layers: [][]string{{"d . 700", "f a/x 1"}, {}},
		want:   []string{"d . 700", "f a/x 1"},
	},
	{
		name:   "files are added and replaced",
		layers: [][]string{{"f a/x 1", "f a/y 1", "f b/z 1"}, {"f a/x 2", "f a/w 2"}},
		want:   []string{"f a/x 2", "f a/y 1", "f a/w 2", "f b/z 1"},
	},
	{
		name:   "a listed directory updates mode, owner and xattrs and keeps children",
		layers: [][]string{{"d a 755 1 old", "f a/x 1", "d a/b 755 1"}, {"d a 700 2 new"}},
		want:   []string{"d a 700 2 new", "f a/x 1", "d a/b 755 1"},
	},
	{
		name:   "an implied directory changes nothing that exists",
		layers: [][]string{{"d . 711", "d a 700 2 kept", "f a/x 1"}, {"f a/y 2"}},
		want:   []string{"d . 711", "d a 700 2 kept", "f a/x 1", "f a/y 2"},
	},
	{
		name:    "every directory of another tool's commit is listed",
		foreign: true,
		layers:  [][]string{{"d . 711", "d a 700 2", "f a/x 1"}, {"f a/y 2"}},
		want:    []string{"d . 755", "d a 755", "f a/x 1", "f a/y 2"},
	},
	{
		name:   "the same dirtree with other metadata",
		layers: [][]string{{"d a 755", "f a/x 1"}, {"d a 700", "f a/x 1"}},
		want:   []string{"d a 700", "f a/x 1"},
	},
	{
		name:   "a whiteout hides a file",
		layers: [][]string{{"f a/x 1", "f a/y 1"}, {"f a/.wh.x"}},
		want:   []string{"f a/y 1"},
	},
	{
		name:   "a whiteout hides a directory with all below",
		layers: [][]string{{"f a/x/y/z 1", "f a/y 1"}, {"f a/.wh.x"}},
		want:   []string{"f a/y 1"},
	},
	{
		name:   "a whiteout of nothing",
		layers: [][]string{{"f a/x 1"}, {"f a/.wh.no", "f b/.wh.no", "f .wh.none"}},
		want:   []string{"f a/x 1"},
	},
	{
		name:   "a file of the same layer survives its whiteout, whatever sorts first",
		layers: [][]string{{"f a/+x 1", "f a/x 1"}, {"f a/.wh.+x", "f a/+x 2", "f a/.wh.x", "f a/x 2"}},
		want:   []string{"f a/+x 2", "f a/x 2"},
	},
	{
		name:   "a directory of the same layer survives its whiteout without the old children",
		layers: [][]string{{"d a/x 700 5", "f a/x/old 1"}, {"f a/.wh.x", "f a/x/new 2"}},
		want:   []string{"f a/x/new 2"},
	},
	{
		name:   "an opaque directory hides all lower children, not its own",
		layers: [][]string{{"f a/x 1", "f a/b/c 1", "d a/e"}, {"d a 700", "f a/.wh..wh..opq", "f a/b/d 2"}},
		want:   []string{"d a 700", "f a/b/d 2"},
	},
	{
		name:   "an opaque directory that is only implied keeps its metadata",
		layers: [][]string{{"d a 700 3", "f a/x 1"}, {"f a/.wh..wh..opq"}},
		want:   []string{"d a 700 3"},
	},
	{
		name:   "an opaque root",
		layers: [][]string{{"d . 711", "f usr/x 1", "f usr/etc/y 1"}, {"f .wh..wh..opq", "f new 2"}},
		want:   []string{"d . 711", "f new 2"},
	},
	{
		name:   "markers of one layer don't act on the next",
		layers: [][]string{{"f a/x 1"}, {"f a/.wh.x"}, {"f a/x 3"}},
		want:   []string{"f a/x 3"},
	},
	{
		name:   "markers in the first layer mean nothing",
		layers: [][]string{{"f a/.wh.x", "f a/y 1", "f b/.wh..wh..opq", "d c", "f c/.wh.z"}},
		want:   []string{"f a/y 1", "d c"},
	},
	{
		name:   "plumbing of aufs is dropped",
		layers: [][]string{{"f a/x 1"}, {"f a/.wh..wh.plnk", "f .wh..wh.aufs/y 1"}},
		want:   []string{"f a/x 1"},
	},
	{
		name:   "a marker that is a directory",
		layers: [][]string{{"f a/x 1", "f a/y 1"}, {"f a/.wh.x/below 1"}},
		want:   []string{"f a/y 1"},
	},
	{
		name:   "an implied directory that holds only markers isn't created",
		layers: [][]string{{"f a 1"}, {"f b/c/.wh.x", "f b/.wh.y"}},
		want:   []string{"f a 1"},
	},
	{
		name:   "a listed directory that holds only markers is created",
		layers: [][]string{{"f a 1"}, {"d b 700", "f b/c/.wh.x"}},
		want:   []string{"f a 1", "d b 700"},
	},
	{
		name:   "an implied directory that holds a listed one is created",
		layers: [][]string{{"f a 1"}, {"d b/c 700", "f b/.wh.x"}},
		want:   []string{"f a 1", "d b/c 700"},
	},
	{
		name:   "an implied directory of only markers leaves a file",
		layers: [][]string{{"f a 1"}, {"f a/.wh.x"}},
		want:   []string{"f a 1"},
	},
	{
		name:   "a file replaces a directory",
		layers: [][]string{{"f a/b/c 1"}, {"f a 2"}},
		want:   []string{"f a 2"},
	},
	{
		name:   "a link replaces a directory",
		layers: [][]string{{"f a/b/c 1"}, {"l a elsewhere"}},
		want:   []string{"l a elsewhere"},
	},
	{
		name:   "a directory replaces a file",
		layers: [][]string{{"f a 1"}, {"d a 700", "f a/b 2"}},
		want:   []string{"d a 700", "f a/b 2"},
	},
	{
		name:   "an implied directory replaces a file",
		layers: [][]string{{"f a 1"}, {"f a/b 2"}},
		want:   []string{"f a/b 2"},
	},
	{
		name:   "a listed directory replaces a link",
		layers: [][]string{{"l a b", "f b/x 1"}, {"d a 700", "f a/y 2"}},
		want:   []string{"f b/x 1", "d a 700", "f a/y 2"},
	},
	{
		name:   "file, directory, file",
		layers: [][]string{{"f a 1"}, {"f a/b 2"}, {"f a 3"}},
		want:   []string{"f a 3"},
	},
	{
		name:   "a deep change leaves its neighbours",
		layers: [][]string{{"f a/b/c/x 1", "d a/b/d 711", "f a/b/d/y 1"}, {"f a/b/c/x 2"}, {"f a/b/c/.wh.x"}},
		want:   []string{"d a/b/c", "d a/b/d 711", "f a/b/d/y 1"},
	},
	{
		name:   "three layers",
		layers: [][]string{{"f a/x 1", "f b/x 1"}, {"f a/.wh.x", "f c/x 2"}, {"f a/x 3", "f c/.wh..wh..opq", "f c/y 3"}},
		want:   []string{"f a/x 3", "f b/x 1", "f c/y 3"},
	},
}

var linkCases = []mergeCase{
	{
		name:   "an implied directory is the link's target",
		layers: [][]string{{"l lib usr/lib", "d usr/lib 711", "f usr/lib/x 1"}, {"f lib/y 2"}},
		want:   []string{"l lib usr/lib", "d usr/lib 711", "f usr/lib/x 1", "f usr/lib/y 2"},
	},
	{
		name:   "an absolute target stays inside the root",
		layers: [][]string{{"l a/b/lib /usr/lib", "f usr/lib/x 1"}, {"f a/b/lib/x 2"}},
		want:   []string{"l a/b/lib /usr/lib", "f usr/lib/x 2"},
	},
	{
		name:   "a target above the root",
		layers: [][]string{{"l a/l ../../../b", "f b/x 1"}, {"f a/l/y 2"}},
		want:   []string{"l a/l ../../../b", "f b/x 1", "f b/y 2"},
	},
	{
		name:   "links in a row and on the way",
		layers: [][]string{{"l a b/./c", "l b d//", "l d/c ../e", "f e/x 1"}, {"f a/y/z 2"}},
		want:   []string{"l a b/./c", "l b d//", "l d/c ../e", "f e/x 1", "f e/y/z 2"},
	},
	{
		name:   "a link below a linked directory",
		layers: [][]string{{"l a b", "l b/c ../e", "f e/x 1"}, {"f a/c/y 2"}},
		want:   []string{"l a b", "l b/c ../e", "f e/x 1", "f e/y 2"},
	},
	{
		name:   "a dangling link's target is created",
		layers: [][]string{{"l a b/c"}, {"f a/x 2"}},
		want:   []string{"l a b/c", "f b/c/x 2"},
	},
	{
		name:   "a file in the way of a link's target is replaced",
		layers: [][]string{{"l a b/c", "f b 1"}, {"f a/x 2"}},
		want:   []string{"l a b/c", "f b/c/x 2"},
	},
	{
		name:   "markers follow a link",
		layers: [][]string{{"l lib usr/lib", "f usr/lib/x 1", "f usr/lib/y 1", "f usr/lib/d/e 1"}, {"f lib/.wh.x", "f lib/d/.wh..wh..opq"}},
		want:   []string{"l lib usr/lib", "f usr/lib/y 1", "d usr/lib/d"},
	},
	{
		name:   "markers through a dangling link create nothing",
		layers: [][]string{{"l a b"}, {"f a/.wh.x"}},
		want:   []string{"l a b"},
	},
	{
		name:   "markers through a link spare the same layer's entries",
		layers: [][]string{{"l lib usr/lib", "f usr/lib/x 1"}, {"f lib/.wh.x", "f usr/lib/x 2"}},
		want:   []string{"l lib usr/lib", "f usr/lib/x 2"},
	},
	{
		name:   "markers below a listed directory don't follow the link that it replaces",
		layers: [][]string{{"l a b", "f b/x 1"}, {"d a 700", "f a/.wh.x"}},
		want:   []string{"d a 700", "f b/x 1"},
	},
	{
		name:   "a link that the layer hides is not followed",
		layers: [][]string{{"l a b", "f b/x 1"}, {"f .wh.a", "f a/y 2"}},
		want:   []string{"f a/y 2", "f b/x 1"},
	},
	{
		name:   "a target that the layer hides is made anew",
		layers: [][]string{{"l a b", "d b 700", "f b/x 1"}, {"f .wh.b", "f a/y 2"}},
		want:   []string{"l a b", "f b/y 2"},
	},
	{
		name:    "another tool's directory replaces the link",
		foreign: true,
		layers:  [][]string{{"l a b", "f b/x 1"}, {"f a/y 2"}},
		want:    []string{"f a/y 2", "f b/x 1"},
	},
	{
		name:   "a target in etc is where the commit has it",
		layers: [][]string{{"l conf etc/conf", "f usr/etc/conf/x 1"}, {"f conf/y 2", "f conf/.wh.x"}},
		want:   []string{"l conf etc/conf", "f usr/etc/conf/y 2"},
	},
	{
		name:   "a relative link in etc leads to where it did in the image",
		layers: [][]string{{"l usr/etc/alt ../opt/alt", "f opt/alt/x 1"}, {"f usr/etc/alt/y 2"}},
		want:   []string{"l usr/etc/alt ../opt/alt", "f opt/alt/x 1", "f opt/alt/y 2"},
	},
	{
		name:   "a target in var",
		layers: [][]string{{"l srv /var/srv", "f var/srv/x 1"}, {"f srv/y 2"}},
		want:   []string{"l srv /var/srv", "f var/srv/x 1", "f var/srv/y 2"},
	},
	{
		name:   "a target in var where the commit has the factory's",
		rules:  layertar.Rules{FactoryVar: true},
		layers: [][]string{{"l srv /var/srv", "f usr/share/factory/var/srv/x 1"}, {"f srv/y 2"}},
		want:   []string{"l srv /var/srv", "f usr/share/factory/var/srv/x 1", "f usr/share/factory/var/srv/y 2"},
	},
	{
		name:   "what leads into run is left out",
		layers: [][]string{{"l var/run /run", "d run 755"}, {"f var/run/lock/x 2", "f var/lib/y 2"}},
		want:   []string{"l var/run /run", "d run 755", "f var/lib/y 2"},
	},
	{
		name:   "a link to the root",
		layers: [][]string{{"l a/host ..", "f opt/x 1"}, {"f a/host/opt/y 2", "f a/host/opt/.wh.x"}},
		want:   []string{"l a/host ..", "f opt/y 2"},
	},
}

var movedCases = []mergeCase{
	{
		name:   "a whiteout of etc",
		layers: [][]string{{"f usr/etc/x 1", "f usr/y 1"}, {"f usr/.wh.etc"}},
		want:   []string{"f usr/y 1"},
	},
	{
		name:   "what a whiteout of usr left for etc goes with etc",
		whole:  true,
		layers: [][]string{{"d usr 700 5", "f usr/etc/x 1", "f usr/lib/y 1", "f z 1"}, {"f .wh.usr"}, {"f usr/.wh.etc"}},
		want:   []string{"f z 1"},
	},
	{
		name:   "a whiteout of usr leaves etc",
		layers: [][]string{{"d usr 700 5", "d usr/etc 711", "f usr/etc/x 1", "f usr/lib/y 1"}, {"f .wh.usr"}},
		want:   []string{"d usr/etc 711", "f usr/etc/x 1"},
	},
	{
		name:   "a whiteout of a usr without etc",
		layers: [][]string{{"f usr/lib/y 1", "f a 1"}, {"f .wh.usr"}},
		want:   []string{"f a 1"},
	},
	{
		name:   "a whiteout of usr and a new one",
		layers: [][]string{{"d usr 700 5", "f usr/etc/x 1", "f usr/lib/y 1"}, {"f .wh.usr", "d usr 711 6", "f usr/z 2"}},
		want:   []string{"d usr 711 6", "f usr/etc/x 1", "f usr/z 2"},
	},
	{
		name:   "a whiteout of usr and an implied one",
		layers: [][]string{{"d usr 700 5", "f usr/etc/x 1"}, {"f .wh.usr", "i usr 755 7", "f usr/z 2"}},
		want:   []string{"d usr 755 7", "f usr/etc/x 1", "f usr/z 2"},
	},
	{
		name:   "an opaque usr leaves etc",
		layers: [][]string{{"d usr 700 5", "f usr/etc/x 1", "f usr/lib/y 1"}, {"f usr/.wh..wh..opq", "f usr/z 2"}},
		want:   []string{"d usr 700 5", "f usr/etc/x 1", "f usr/z 2"},
	},
	{
		name:   "an opaque usr leaves an etc that is a link",
		layers: [][]string{{"l usr/etc conf", "f usr/lib/y 1"}, {"f usr/.wh..wh..opq"}},
		want:   []string{"l usr/etc conf"},
	},
	{
		name:   "an opaque etc",
		layers: [][]string{{"f usr/etc/x 1", "f usr/lib/y 1"}, {"f usr/etc/.wh..wh..opq", "f usr/etc/z 2"}},
		want:   []string{"f usr/lib/y 1", "f usr/etc/z 2"},
	},
	{
		name:   "an opaque usr leaves the factory's var",
		rules:  layertar.Rules{FactoryVar: true},
		layers: [][]string{{"d usr/share 700 5", "f usr/share/factory/etc/x 1", "f usr/share/factory/var/y 1", "f usr/share/z 1"}, {"f usr/.wh..wh..opq"}},
		want:   []string{"f usr/share/factory/var/y 1"},
	},
	{
		name:   "an opaque usr/share leaves the factory's var",
		rules:  layertar.Rules{FactoryVar: true},
		layers: [][]string{{"d usr/share 700 5", "f usr/share/factory/var/y 1", "f usr/share/z 1"}, {"f usr/share/.wh..wh..opq"}},
		want:   []string{"d usr/share 700 5", "f usr/share/factory/var/y 1"},
	},
	{
		name:   "a whiteout of the factory's var",
		rules:  layertar.Rules{FactoryVar: true},
		layers: [][]string{{"f usr/share/factory/var/y 1", "f usr/x 1"}, {"f usr/share/factory/.wh.var"}},
		want:   []string{"d usr/share/factory", "f usr/x 1"},
	},
	{
		name:   "without the rule the factory's var is an ordinary directory",
		layers: [][]string{{"f usr/share/factory/var/y 1", "f usr/etc/x 1"}, {"f usr/.wh..wh..opq"}},
		want:   []string{"f usr/etc/x 1"},
	},
}
