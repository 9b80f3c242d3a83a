#!/bin/sh
# Changes a Debian root in place; runs inside it. What it does is chosen for
# what a layer can say about an entry of a lower one.
set -eu

# Metadata of directories that lower layers hold.
chmod 0750 /usr/lib/ssl
chmod 2775 /usr/local/lib
chown daemon:mail /usr/local/lib
chmod 1777 /srv

# Contents, owners and modes of files.
echo 'Welcome.' >>/etc/motd
sed -i '$a operator:x:37:37:operator:/root:/usr/sbin/nologin' /etc/passwd
chown games:games /usr/bin/gdb
chmod 4755 /usr/bin/gdb

# Extended attributes: capabilities, ACLs, several on one entry.
setcap cap_net_bind_service=+ep /usr/sbin/nginx
setfacl -m u:daemon:rwX -m g:mail:rX /etc/ssl
setfacl -d -m u:games:rX /srv
setfattr -n user.first -v one /usr/share/man
setfattr -n user.second -v two /usr/share/man
setfattr -n user.origin -v importd /usr/bin/perl
setfattr -n user.channel -v stable /usr/bin/perl
setfattr -n trusted.mark -v yes /usr/bin/perl

# Entries that change their type.
rm -r /usr/share/perl5 && echo 'no modules' >/usr/share/perl5
rm /etc/issue && mkdir /etc/issue && echo 'Debian' >/etc/issue/text
rm -r /usr/share/locale && ln -s /usr/lib/locale /usr/share/locale
rm /usr/bin/awk && cp /usr/bin/mawk /usr/bin/awk
ln -sfn ../lib/os-release.d /etc/os-release

# Names, links, sizes.
mkdir -p "/usr/lib/importd/Größe und Maß/$(printf 'n%.0s' $(seq 200))/$(printf 'm%.0s' $(seq 120))"
echo 'deep' >"/usr/lib/importd/Größe und Maß/$(printf 'n%.0s' $(seq 200))/$(printf 'm%.0s' $(seq 120))/file"
: >/usr/lib/importd/empty
: >/usr/lib/importd/-dash
cp /usr/bin/perl /usr/lib/importd/a
ln /usr/lib/importd/a /usr/lib/importd/b
ln /usr/lib/importd/a /etc/importd-link
ln -s "$(printf 'x/%.0s' $(seq 150))" /usr/lib/importd/dangling
head -c 20000000 /dev/zero | tr '\0' '\111' >/usr/lib/importd/large

# What the path rules map.
mkdir -p /var/lib/importd /opt/importd
echo state >/var/lib/importd/state
echo option >/opt/importd/option
