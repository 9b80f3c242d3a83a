package merge

import "github.com/ostree-importd/ostree-importd/importer/layertar"

var baseCases = []mergeCase{
	{
		name: "a base without layers",
		base: []string{"d . 711", "d usr 700 5", "f usr/etc/x 1", "l home var/home"},
		want: []string{"d . 711", "d usr 700 5", "f usr/etc/x 1", "l home var/home"},
	},
	{
		name:   "names of markers in a base are files",
		base:   []string{"d . 711", "f a/.wh.x 1", "f a/x 1", "f a/y 1", "f b/.wh..wh..opq", "f b/x 1", "d c/.wh.d", "f .wh..wh.plnk 1"},
		layers: [][]string{{"f a/.wh.y", "f b/z 2", "f c/x 2"}, {"f a/z 3"}},
		want:   []string{"d . 711", "f a/.wh.x 1", "f a/x 1", "f a/z 3", "f b/.wh..wh..opq", "f b/x 1", "f b/z 2", "d c/.wh.d", "f c/x 2", "f .wh..wh.plnk 1"},
	},
	{
		name:   "an opaque directory hides names of markers in a base",
		base:   []string{"f a/.wh.x 1", "f a/.wh..wh..opq", "f b 1"},
		layers: [][]string{{"f a/.wh..wh..opq", "f a/y 2"}},
		want:   []string{"f a/y 2", "f b 1"},
	},
	{
		name:   "a layer that is like the base's directory with names of markers hides nothing of itself",
		base:   []string{"f a/.wh.x 1", "f a/y 1"},
		layers: [][]string{{"f a/.wh.x 1", "f a/y 1"}},
		want:   []string{"f a/.wh.x 1", "f a/y 1"},
	},
	{
		name:   "a whiteout in etc hides what the base has in usr/etc",
		base:   []string{"d usr/etc 711 5", "f usr/etc/foo 1", "f usr/etc/bar/baz 1", "f usr/lib/foo 1"},
		layers: [][]string{{"f usr/etc/.wh.foo", "f usr/etc/.wh.bar"}},
		want:   []string{"d usr/etc 711 5", "f usr/lib/foo 1"},
	},
	{
		name:   "an opaque directory in etc",
		base:   []string{"f usr/etc/conf.d/a 1", "f usr/etc/b 1"},
		layers: [][]string{{"f usr/etc/conf.d/.wh..wh..opq", "f usr/etc/conf.d/c 2"}},
		want:   []string{"f usr/etc/conf.d/c 2", "f usr/etc/b 1"},
	},
	{
		name:   "a whiteout of usr leaves the base's etc",
		base:   []string{"f usr/etc/a 1", "f usr/lib/b 1", "f boot/c 1"},
		layers: [][]string{{"f .wh.usr"}},
		want:   []string{"f usr/etc/a 1", "f boot/c 1"},
	},
	{
		name:   "a base's links are followed",
		base:   []string{"l home var/home", "l bin usr/bin", "f usr/bin/sh 1", "d var 711"},
		layers: [][]string{{"f home/user/x 2", "f bin/tool 2", "f bin/.wh.sh"}},
		want:   []string{"l home var/home", "l bin usr/bin", "f usr/bin/tool 2", "d var 711", "f var/home/user/x 2"},
	},
	{
		name:   "a base's links into var where the commit has the factory's",
		rules:  layertar.Rules{FactoryVar: true},
		base:   []string{"l root var/roothome", "d var"},
		layers: [][]string{{"f root/x 2"}},
		want:   []string{"l root var/roothome", "d var", "f usr/share/factory/var/roothome/x 2"},
	},
	{
		name:   "a base's links to what isn't kept",
		rules:  layertar.Rules{OnlyUsr: true},
		base:   []string{"l usr/local ../opt/local", "d opt"},
		layers: [][]string{{"f usr/local/x 2", "f usr/y 2"}},
		want:   []string{"l usr/local ../opt/local", "d opt", "f usr/y 2"},
	},
	{
		name:   "directories of a base keep their metadata unless a layer lists them",
		base:   []string{"d . 711", "d usr/lib 700 5 x", "f usr/lib/a 1", "d usr/etc 700 6", "f usr/etc/a 1"},
		layers: [][]string{{"f usr/lib/b 2", "d usr/etc 711 7", "f usr/etc/b 2"}},
		want:   []string{"d . 711", "d usr/lib 700 5 x", "f usr/lib/a 1", "f usr/lib/b 2", "d usr/etc 711 7", "f usr/etc/a 1", "f usr/etc/b 2"},
	},
}

var tidyCases = []mergeCase{
	{
		name:   "empty files that a build leaves in etc are removed",
		layers: [][]string{{"d usr/etc 711", "f usr/etc/hostname", "f usr/etc/x"}, {"f usr/etc/resolv.conf"}},
		want:   []string{"d usr/etc 711", "f usr/etc/x"},
	},
	{
		name: "also those of a base",
		base: []string{"f usr/etc/hostname", "f usr/etc/resolv.conf", "f usr/lib/x 1"},
		want: []string{"d usr/etc", "f usr/lib/x 1"},
	},
	{
		name:   "files with content stay",
		layers: [][]string{{"f usr/etc/hostname", "f usr/etc/resolv.conf nameserver"}, {"f usr/etc/hostname name"}},
		want:   []string{"f usr/etc/hostname name", "f usr/etc/resolv.conf nameserver"},
	},
	{
		name:   "what is no file stays",
		layers: [][]string{{"l usr/etc/resolv.conf ../run/resolv.conf", "d usr/etc/hostname"}},
		want:   []string{"l usr/etc/resolv.conf ../run/resolv.conf", "d usr/etc/hostname"},
	},
	{
		name:   "files of these names elsewhere stay",
		layers: [][]string{{"f etc/hostname", "f usr/hostname", "f hostname"}},
		want:   []string{"f etc/hostname", "f usr/hostname", "f hostname"},
	},
	{
		name:   "an etc that is no directory",
		layers: [][]string{{"l usr/etc lib", "f usr/lib/hostname"}},
		want:   []string{"l usr/etc lib", "f usr/lib/hostname"},
	},
}
