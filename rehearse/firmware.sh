# What is below an operating system: mounts the disk in the file $1 at the folder
# $2 and boots what is on it, in the control group $3, and again after each
# reset. Runs as root in a mount namespace of its own.
set -eu
disk=$1 root=$2 cgroup=/sys/fs/cgroup/$3

umount -R -l /sys/fs/cgroup # nspawn wants to see nothing but version 2
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run # where nspawn notes which machines there are
mount -o loop,errors=continue "$disk" "$root" # what was cut off is replayed from its journal
[ -s "$root/etc/machine-id" ] || tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"

# nspawn comes from the machine's own disk, with its libraries.
set -- "$root"/usr/lib/*-linux-gnu
set -- "$(echo "$1"/ld-linux-*.so.*)" --library-path "$1:$1/systemd" "$root/usr/bin/systemd-nspawn" \
  --boot --register=no --keep-unit --console=read-only --machine=machine --resolv-conf=off --timezone=off \
  --link-journal=no --network-namespace-path=/proc/self/ns/net --directory="$root" \
  systemd.show_status=error systemd.log_color=no
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1

status=133 # of nspawn, when the machine is to be reset
while [ $status = 133 ]; do
  up=$(cut -d. -f1 /proc/uptime) # the machine's own begins with its boot
  status=0
  unshare --fork --kill-child --time --boottime=-$((up - 1)) --monotonic=-$((up - 1)) \
    sh -c 'echo $$ >"$0/cgroup.procs"; exec "$@"' "$cgroup" "$@" || status=$?
  echo "nspawn ended with status $status"
done
