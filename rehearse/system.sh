# Builds the system of the machine: an ext4 disk in the file $2, with a Debian
# that systemd boots, from the archive $1. Runs as root in a mount namespace of
# its own. $PWD is a folder for it alone.
set -eu

# Nothing here needs to outlive a power cut, and dpkg syncs a lot.
mount -t tmpfs -o size=2g,mode=755 tmpfs .
cd "$PWD" # which is another folder now
mkdir tmp disk
export TMPDIR=$PWD/tmp

# Whoever can install git has all of perl that mmdebstrap is written in.
(cd tmp && apt-get download -qq -o APT::Sandbox::User=root mmdebstrap && dpkg -x mmdebstrap_*.deb .)

# Bookworm has systemd 252, the oldest that is supported. nspawn is taken from
# the machine too, so that the host needs none.
cat >tmp/finish <<'EOF'
#!/bin/sh -eu
cd "$1"
rm -rf etc/machine-id usr/share/doc/* usr/share/locale/* usr/share/man/*
echo machine >etc/hostname
chroot . useradd --create-home --shell /bin/bash --uid 1000 seller
chroot . systemctl mask getty.target console-getty.service networking.service \
  apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
EOF
chmod +x tmp/finish
tmp/usr/bin/mmdebstrap --quiet --variant=apt --customize-hook="$PWD/tmp/finish" \
  --include=systemd,systemd-sysv,systemd-container,dbus,dbus-user-session,libpam-systemd,polkitd,procps,e2fsprogs \
  bookworm root "$1"

truncate -s 1G root/disk.img
chroot root mke2fs -q -t ext4 -F /disk.img
mv root/disk.img disk.img
mount -o loop disk.img disk
cp -a root/. disk/
umount disk
cp --sparse=always disk.img "$2"
