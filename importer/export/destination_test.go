package export_test

import (
	"testing"

	"github.com/ostree-importd/ostree-importd/importer/export"
	"github.com/ostree-importd/ostree-importd/importer/reference"
)

func TestParseDestination(t *testing.T) {
	oci := func(name string) export.Destination {
		return export.Destination{Image: reference.Image{Transport: reference.TransportOCI, Name: name}}
	}
	for text, want := range map[string]export.Destination{
		"tar:/srv/os.tar":    {Root: export.Tar, Path: "/srv/os.tar"},
		"squashfs:os:x":      {Root: export.Squashfs, Path: "os:x"},
		"erofs:/os":          {Root: export.EROFS, Path: "/os"},
		"oci:/srv/os:stable": oci("/srv/os:stable"),
		"docker://h/os:1":    {Image: reference.Image{Transport: reference.TransportRegistry, Name: "h/os:1"}},
		"dir:/srv/os:1":      {Image: reference.Image{Transport: reference.TransportDir, Name: "/srv/os:1"}},
		"docker-archive:/srv/os:h/os:1": {
			Image: reference.Image{Transport: reference.TransportDockerArchive, Name: "/srv/os:h/os:1"},
		},
		"containers-storage:localhost/os:1": {
			Image: reference.Image{Transport: reference.TransportContainersStorage, Name: "localhost/os:1"},
		},
		"oci-archive:/srv/os": {Image: reference.Image{Transport: reference.TransportOCIArchive, Name: "/srv/os"}},
	} {
		got, err := export.ParseDestination(text)
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "tar:", "tar:/srv/", "squashfs", "erofs:a\x00b", "oci:", "docker:x", "docker-daemon:x", "docker-archive::x", "docker-archive:/srv/os:@0", "docker-archive:/srv/os:", "docker-archive:/srv/os:Name", "docker-archive:/srv/os:a:b:c", "dir:",
		"containers-storage:", "/srv/os.tar"} {
		if got, err := export.ParseDestination(text); err == nil {
			t.Errorf("%q: %+v", text, got)
		}
	}
}
