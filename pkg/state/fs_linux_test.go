package state

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenRefusesNetworkFileSystems asks about the nearest folder that is
// there, and names what it is on.
func TestOpenRefusesNetworkFileSystems(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	on := func(name string, err error) func(string) (string, error) {
		return func(path string) (string, error) {
			if path != dir {
				t.Errorf("asked about %q, want %q", path, dir)
			}
			return name, err
		}
	}
	below := filepath.Join(dir, "a", "b")
	_, err := open(below, "home", on("nfs", nil))
	if want := filepath.Join(below, "home") + `" is on a network file system (nfs)`; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("open = %v, want %q in it", err, want)
	}
	if _, err := open(below, "home", on("", errors.New("stale file handle"))); err == nil || !strings.Contains(err.Error(), "stale file handle") {
		t.Errorf("open = %v, want the reason", err)
	}
	if _, err := open(below, "home", on("", nil)); err != nil {
		t.Errorf("open = %v", err)
	}
	if name, err := networkFS(dir); name != "" || err != nil {
		t.Errorf("the test's own folder is on %q (%v)", name, err)
	}
	if _, err := networkFS(below); err == nil {
		t.Error("an absent folder is on something")
	}
}

func TestFUSEName(t *testing.T) {
	t.Parallel()
	const mounts = `22 28 0:21 / /proc rw,nosuid - proc proc rw
61 28 0:45 / /mnt/far rw,nosuid shared:31 - fuse.sshfs op@far:/srv rw,user_id=0
62 28 0:46 / /mnt/near rw - fuse.gocryptfs /home/op/.crypt rw
63 28 0:47 / /mnt/bucket rw - fuse rclone{abc} rw
64 28 0:48 / /mnt/\040space rw - fuse.s3fs s3fs rw
broken
65 28 0:49 / /x rw - fuse
`
	tests := map[string]struct {
		minor uint32
		want  string
	}{
		"sshfs": {45, "fuse.sshfs"}, "encrypted": {46, ""}, "rclone": {47, "fuse"}, "s3fs": {48, "fuse.s3fs"}, "no source": {49, ""}, "not mounted": {99, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fuseName(mounts, unix.Mkdev(0, tc.minor)); got != tc.want {
				t.Errorf("fuseName = %q, want %q", got, tc.want)
			}
		})
	}
	if got := fuseName("61 28 259:70000 / /x rw - fuse.sshfs far: rw\n", unix.Mkdev(259, 70000)); got != "fuse.sshfs" {
		t.Errorf("a device with a large number is on %q", got)
	}
}
