.PHONY: system-test
system-test: ## boot Debian in containers and test the installed units there
	$(ENSURE) mmdebstrap systemd-nspawn unshare mount
	tests/system/run.sh $(SUITES)
