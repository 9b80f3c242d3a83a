.PHONY: compat
compat: ## run the tests with the ostree and skopeo of Debian 12, 13 and sid
	$(ENSURE) mmdebstrap unshare mount /etc/selinux/default/contexts/files/file_contexts
	tests/compat/run.sh $(SUITES)
