//go:build system

package system

import (
	"errors"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ostree-importd/ostree-importd/daemon"
	"github.com/ostree-importd/ostree-importd/tests/fixture"
)

// exampleHost is the registry that the documents name.
const exampleHost = "registry.example.com"

// newExampleSite has a registry answer under the name that the documents use.
func newExampleSite(t *testing.T) site {
	t.Helper()
	registry := fixture.StartRegistry(t)
	listener, err := net.Listen("tcp", "127.0.0.1:80")
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry.Host})
	server := &http.Server{Handler: proxy}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	appendTo(t, "/etc/hosts", "127.0.0.1 "+exampleHost+"\n")
	config := "[[registry]]\nlocation = \"" + exampleHost + "\"\ninsecure = true\n"
	err = os.WriteFile("/etc/containers/registries.conf.d/example.conf", []byte(config), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	return site{&fixture.Registry{Host: exampleHost}, &fixture.Gateway{Host: exampleHost}}
}

// appendTo adds a line to a file until the end of the test.
func appendTo(t *testing.T, path, line string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, append(before, line...), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}

// commands are those that a document shows first below a heading.
func commands(t *testing.T, document, heading string) string {
	t.Helper()
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n"+heading+"\n")
	block := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(section)
	if !found || block == nil {
		t.Fatalf("%s has no commands below %q", document, heading)
	}
	return block[1]
}

// somewhat is the root file system of the image that the documents speak of.
func somewhat(t *testing.T, root string) {
	writeFile(t, filepath.Join(root, "usr/bin/hello"), "#!/bin/sh\necho hello\n", 0o755, 0, 0)
	writeFile(t, filepath.Join(root, "etc/motd"), "hello\n", 0o644, 0, 0)
}

// checkJobs reports jobs that did not do what the documents say.
func checkJobs(t *testing.T) {
	t.Helper()
	jobs, err := newClient(t).Jobs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) == 0 {
		t.Error("there are no jobs")
	}
	for _, job := range jobs {
		if job.Result != daemon.ResultDone {
			t.Errorf("job %d, %s of %s, is %s: %s", job.ID, job.Type, job.Image, job.Result, job.ErrorMessage)
		}
	}
}

// forgetJobs restarts the daemon without what it remembers of earlier tests.
func forgetJobs(t *testing.T) {
	t.Helper()
	run(t, "systemctl", "stop", unit)
	run(t, "sh", "-c", "rm -rf /run/ostree-importd/jobs /run/ostree-importd/prepared")
}

// TestDocumentedCalls runs the calls that docs/dbus-api.md shows, as they are printed.
func TestDocumentedCalls(t *testing.T) {
	newExampleSite(t).push(t, "example/os:latest", somewhat, noise("usr/lib/blob", 1<<20))
	forgetJobs(t)
	t.Cleanup(func() { os.RemoveAll("/srv/images") })
	run(t, "sh", "-eux", "-c", commands(t, "dbus-api.md", "## Try it"))
	if commit := run(t, "ostree", "--repo="+repository, "rev-parse", "example/os"); len(commit) != 64 {
		t.Errorf("example/os is %q", commit)
	}
	if run(t, "ostree", "--repo=/srv/images/repo", "refs", "--list", "ostree/container/image") == "" {
		t.Error("nothing was copied")
	}
	checkJobs(t)
	run(t, "systemctl", "stop", unit) // and with it the log level
}

// TestTour runs the README's tour, as it is printed, on a machine that has no repository.
func TestTour(t *testing.T) {
	newExampleSite(t).push(t, "os:stable", somewhat, noise("usr/lib/blob", 1<<20))
	withoutRepository(t)
	forgetJobs(t)
	t.Cleanup(func() {
		run(t, "sh", "-c", "systemctl disable --now 'ostree-importd-pull@*.timer'; rm -rf /srv/*")
	})
	run(t, "sh", "-eux", "-c", commands(t, "README.md", "## A minute's tour"))
	images := run(t, "ostree-importctl", "images")
	if !strings.Contains(images, "docker://"+exampleHost+"/os:stable") {
		t.Errorf("the images are\n%s", images)
	}
	checkJobs(t)
}

// withoutRepository leaves the machine without a repository until the end of the test.
func withoutRepository(t *testing.T) {
	t.Helper()
	kept, link := filepath.Dir(filepath.Dir(physical))+"/kept", filepath.Dir(repository)
	run(t, "systemctl", "stop", unit)
	run(t, "mv", filepath.Dir(physical), kept)
	run(t, "rm", link)
	t.Cleanup(func() {
		run(t, "systemctl", "stop", unit)
		run(t, "rm", "-rf", filepath.Dir(physical), link)
		run(t, "mv", kept, filepath.Dir(physical))
		run(t, "ln", "-s", "sysroot/ostree", link)
	})
}
