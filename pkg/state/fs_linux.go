package state

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// The magic numbers of statfs(2) for file systems whose locks are decided on
// another machine, and for FUSE, which can be anything.
var networkMagic = map[int64]string{
	0x6969:     "nfs",
	0x517B:     "smb",
	0xFF534D42: "cifs",
	0xFE534D42: "smb2",
	0x5346414F: "afs",
	0x564C:     "ncpfs",
	0x00C36400: "ceph",
	0x0BD00BD0: "lustre",
	0x73757245: "coda",
}

const fuseMagic = 0x65735546

// networkFUSE lists FUSE file systems that lie on another machine.
var networkFUSE = []string{"sshfs", "rclone", "s3fs", "glusterfs", "gcsfuse", "davfs", "curlftpfs", "ceph", "juicefs", "mountpoint-s3"}

// networkFS names the network file system that a path lies on, or gives "".
func networkFS(path string) (string, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return "", err
	}
	magic := int64(st.Type) & 0xFFFFFFFF
	if magic != fuseMagic {
		return networkMagic[magic], nil
	}
	var file syscall.Stat_t
	if err := syscall.Stat(path, &file); err != nil {
		return "", err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	return fuseName(string(mounts), file.Dev), nil
}

// fuseName finds the type of the mounted device in the text of mountinfo, and
// gives it when it is one that lies on another machine.
func fuseName(mounts string, dev uint64) string {
	major := dev>>8&0xfff | dev>>32&^0xfff
	minor := dev&0xff | dev>>12&^0xff
	device := fmt.Sprintf("%d:%d", major, minor)
	for line := range strings.Lines(mounts) {
		before, after, ok := strings.Cut(line, " - ")
		left, right := strings.Fields(before), strings.Fields(after)
		if !ok || len(left) < 3 || len(right) < 2 || left[2] != device {
			continue
		}
		for _, name := range networkFUSE {
			if right[0] == "fuse."+name || right[0] == "fuse" && strings.HasPrefix(right[1], name) {
				return right[0]
			}
		}
	}
	return ""
}
