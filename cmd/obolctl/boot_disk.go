package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/boot"
)

// leastRoom is how much room a site needs, in bytes: some files are written anew
// by each run of converge.
const leastRoom = 1 << 20

// checkDisk tells whether there is room for what a site writes into a folder, which
// may be still to be made.
func checkDisk(folder string) boot.Check {
	var disk unix.Statfs_t
	err := unix.Statfs(folder, &disk)
	for errors.Is(err, unix.ENOENT) && folder != filepath.Dir(folder) {
		folder = filepath.Dir(folder)
		err = unix.Statfs(folder, &disk)
	}
	switch {
	case err != nil:
		return boot.Check{Subject: "disk", Text: fmt.Sprintf("cannot tell how full it is: %v", err)}
	case disk.Bavail*uint64(disk.Bsize) < leastRoom:
		return boot.Check{Subject: "disk", Verdict: boot.Bad, Text: "full: gateways come back, but converge restores nothing, and who charges by itself refuses payments",
			Next: fmt.Sprintf("df -h %q", folder)}
	}
	return boot.Check{Subject: "disk", Verdict: boot.Good, Text: "there is room for what is written down"}
}
