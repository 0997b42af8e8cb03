package proc

import (
	"errors"

	"github.com/obolctl/obolctl/pkg/resource"
)

// errGone means that the process of an identity has ended.
var errGone = errors.New("the process is gone")

// same tells whether two identities are one process.
func same(a, b resource.Identity) bool {
	return a.BootID == b.BootID && a.PID == b.PID && a.StartTicks == b.StartTicks && a.ExeDevice == b.ExeDevice && a.ExeInode == b.ExeInode
}
