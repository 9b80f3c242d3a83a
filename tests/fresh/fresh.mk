.PHONY: fresh
fresh: ## run demo and check on a bare Debian 12, where nothing of this machine helps; SUITES="bookworm trixie"
	$(ENSURE) git mmdebstrap unshare mount pivot_root
	tests/fresh/run.sh $(SUITES)
