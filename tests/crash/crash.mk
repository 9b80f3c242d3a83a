.PHONY: crash
crash: export IMPORTD_BINDIR := $(CURDIR)/$(BINDIR)/crash
crash: ## kill the program and its helpers at every named place and at random, CRASH_HITS times (300)
	$(ENSURE) ostree skopeo dbus-daemon
	CGO_ENABLED=0 $(GO) build -tags crash -trimpath -o $(IMPORTD_BINDIR)/ ./cmd/...
	$(GO) test -tags crash -count 1 -timeout 30m ./tests/crash
