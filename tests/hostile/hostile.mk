.PHONY: hostile
hostile: ## hostile images, documents, references, bus messages and registries against a daemon on a private bus
	$(ENSURE) ostree skopeo dbus-daemon docker-registry
	$(GO) test -tags hostile -count 1 -timeout 15m ./tests/hostile
