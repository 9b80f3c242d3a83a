# make install DESTDIR= PREFIX=: commands, units, bus and polkit files, man
# pages and completions. systemd and the bus's activation also search below
# /usr/local; bus policies, polkit actions and the journal's catalog do not.
#
# Nothing is built here: root, who installs, has no Go in the PATH that sudo
# gives, and would own what it built. What "make" has built is installed as it is.

bindir := $(PREFIX)/bin
libexecdir := $(PREFIX)/libexec
unitdir := $(PREFIX)/lib/systemd/system
presetdir := $(PREFIX)/lib/systemd/system-preset
sysusersdir := $(PREFIX)/lib/sysusers.d
datadir := $(PREFIX)/share
buspolicydir := /usr/share/dbus-1/system.d
catalogdir := /usr/lib/systemd/catalog
polkitdir := /usr/share/polkit-1/actions
INSTALL_DATA := install -D -m 0644

.PHONY: install install-bin install-data
install: install-bin install-data ## install below DESTDIR and PREFIX

# Both may be asked for at once: "make -j build install".
install-bin: | $(filter all build,$(MAKECMDGOALS))
	@for command in ostree-importd ostree-importctl; do \
		[ -x $(BINDIR)/$$command ] || { \
			echo "$(BINDIR)/$$command is not built: run \"make\" first, as a user who has Go" >&2; exit 1; }; \
	done
	install -D -m 0755 $(BINDIR)/ostree-importd $(DESTDIR)$(libexecdir)/ostree-importd
	install -D -m 0755 $(BINDIR)/ostree-importctl $(DESTDIR)$(bindir)/ostree-importctl
	install -d $(DESTDIR)$(datadir)/bash-completion/completions $(DESTDIR)$(datadir)/zsh/site-functions $(DESTDIR)$(datadir)/fish/vendor_completions.d
	umask 022 && $(BINDIR)/ostree-importctl completion bash > $(DESTDIR)$(datadir)/bash-completion/completions/ostree-importctl
	umask 022 && $(BINDIR)/ostree-importctl completion zsh > $(DESTDIR)$(datadir)/zsh/site-functions/_ostree-importctl
	umask 022 && $(BINDIR)/ostree-importctl completion fish > $(DESTDIR)$(datadir)/fish/vendor_completions.d/ostree-importctl.fish

install-data:
	install -d $(DESTDIR)$(unitdir)
	for unit in ostree-importd.service ostree-importd-pull@.service; do \
		sed -e 's|@bindir@|$(bindir)|g' -e 's|@libexecdir@|$(libexecdir)|g' \
			systemd/$$unit.in > $(DESTDIR)$(unitdir)/$$unit && \
		chmod 0644 $(DESTDIR)$(unitdir)/$$unit || exit 1; \
	done
	ln -sf ostree-importd.service $(DESTDIR)$(unitdir)/dbus-org.ostree.import1.service
	$(INSTALL_DATA) systemd/ostree-importd-pull@.timer $(DESTDIR)$(unitdir)/ostree-importd-pull@.timer
	$(INSTALL_DATA) systemd/80-ostree-importd.preset $(DESTDIR)$(presetdir)/80-ostree-importd.preset
	$(INSTALL_DATA) systemd/ostree-importd.catalog $(DESTDIR)$(catalogdir)/ostree-importd.catalog
	$(INSTALL_DATA) systemd/ostree-importd.sysusers $(DESTDIR)$(sysusersdir)/ostree-importd.conf
	$(INSTALL_DATA) dbus/org.ostree.import1.conf $(DESTDIR)$(buspolicydir)/org.ostree.import1.conf
	$(INSTALL_DATA) dbus/org.ostree.import1.service $(DESTDIR)$(datadir)/dbus-1/system-services/org.ostree.import1.service
	$(INSTALL_DATA) dbus/org.ostree.import1.xml $(DESTDIR)$(datadir)/dbus-1/interfaces/org.ostree.import1.xml
	$(INSTALL_DATA) dbus/org.ostree.import1.policy $(DESTDIR)$(polkitdir)/org.ostree.import1.policy
	$(INSTALL_DATA) docs/man/ostree-importctl.1 $(DESTDIR)$(datadir)/man/man1/ostree-importctl.1
	$(INSTALL_DATA) docs/man/ostree-importd.8 $(DESTDIR)$(datadir)/man/man8/ostree-importd.8
