# Waits for the end of the rehearsal, however it ends, and clears away what it
# has left: everything in the control group $1, and the folder $2. With the last
# process go its mounts, loop devices and networks.
cat >/dev/null
echo 1 >"$1/cgroup.kill"
while ! grep -q '^populated 0' "$1/cgroup.events"; do sleep 0.05; done
find "$1" -depth -type d -exec rmdir {} +
rm -rf --one-file-system "$2"
