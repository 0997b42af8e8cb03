package proc

import (
	"errors"

	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// errGone means that the process of an identity has ended.
var errGone = errors.New("the process is gone")

// same tells whether two identities are one process.
func same(a, b resource.Identity) bool {
	return a.BootID == b.BootID && a.PID == b.PID && a.StartTicks == b.StartTicks && a.ExeDevice == b.ExeDevice && a.ExeInode == b.ExeInode
}

// alive tells whether the process of an identity still runs, in the boot that
// is named. An error means that nobody can say. A stranger that has the PID
// now is told by its start time, since another account's executable may not be
// read.
func alive(id resource.Identity, boot string) (bool, error) {
	if id.BootID != boot {
		return false, nil
	}
	ticks, ok, err := kernel.Started(id.PID)
	if !ok || ticks != id.StartTicks {
		return false, err
	}
	device, inode, ok, err := kernel.Executable(id.PID)
	return ok && device == id.ExeDevice && inode == id.ExeInode, err
}
