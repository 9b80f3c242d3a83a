# ostree-importd: build, try, test, install. `make help` lists the targets.

PREFIX ?= /usr/local
GO ?= go
BINDIR := bin
# Not asked for before something is built: root may not ask git in a user's directory.
VERSION = $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS = -X github.com/ostree-importd/ostree-importd/cmd/internal/setup.Version=$(VERSION)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.6.1
FUZZTIME ?= 5000x
ENSURE := tests/deps/ensure.sh
# What the tests run, besides Go, and a file that they read. "make fresh" finds what is missing here.
TEST_NEEDS := ostree skopeo dbus-daemon busctl docker-registry umoci \
	cc gdbus-codegen getcap getfattr gpg gpg-agent gpgconf gzip mkfs.erofs mkfs.ext4 mksquashfs mount openssl pgrep \
	rpm rpmbuild setcap setfattr setpriv sqfstar unshare unsquashfs xz zstd \
	/etc/selinux/default/contexts/files/file_contexts

.PHONY: all
all: build ## build both commands into bin/

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BINDIR)/ ./cmd/...

.PHONY: demo
demo: ## build, start a private bus and the daemon, make a small image, pull it, show the commit
	$(ENSURE) ostree skopeo dbus-daemon busctl
	$(MAKE) --no-print-directory build
	tests/demo/demo.sh $(BINDIR)

.PHONY: check
check: lint test fuzz-smoke ## everything that each change must pass

.PHONY: quick
quick: lint-go ## without root, installs nothing: Go's lint, and each test that needs neither root nor tools
	IMPORTD_QUICK=1 $(GO) test ./...

.PHONY: lint
lint: lint-go ## format, vet, static analysis, shell scripts, XML and unit files
	$(ENSURE) git shellcheck xmllint systemd-analyze pgrep
	shellcheck $$(git ls-files -co --exclude-standard '*.sh') .ci/run
	xmllint --noout dbus/*.xml dbus/*.policy dbus/*.conf
	tests/deps/verify-units.sh

.PHONY: lint-go
lint-go:
	@unformatted=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags systemimage,system,hostile,crash ./tests/...
	$(GO) run $(STATICCHECK) -tags systemimage,system,hostile,crash ./...

.PHONY: test
test: ## unit and end-to-end tests, with the race detector
	$(ENSURE) $(TEST_NEEDS)
	$(GO) test -race -count 1 -timeout 30m ./...

.PHONY: fuzz-smoke
fuzz-smoke: ## each fuzz target with FUZZTIME inputs (5000x), or for a time (10m)
	tests/deps/fuzz.sh $(FUZZTIME)

.PHONY: bench
bench: ## Go benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

.PHONY: clean
clean: ## remove what was built
	rm -rf $(BINDIR) dist

include systemd/install.mk
include $(wildcard tests/*/*.mk)
