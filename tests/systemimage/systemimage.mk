.PHONY: system-image-test
system-image-test: ## import a whole Debian system and compare every file
	$(ENSURE) mmdebstrap systemd-nspawn umoci skopeo ostree dbus-daemon docker-registry
	$(GO) test -tags systemimage -count 1 -v -timeout 60m ./tests/systemimage

.PHONY: system-image-bench
system-image-bench: ## time that import against copying and unpacking by other means
	$(ENSURE) mmdebstrap systemd-nspawn umoci skopeo ostree dbus-daemon docker-registry
	$(GO) test -tags systemimage -run '^$$' -bench . -benchtime 1x -count 5 -timeout 60m ./tests/systemimage
