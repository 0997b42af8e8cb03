//go:build !linux

package kernel

import (
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/obolctl/obolctl/pkg/resource"
)

// ErrNotLinux is what all fails with that needs /proc, or sockets as Linux has them.
// Since the boot id is one of them, gateways are seen as unknown, and nothing is
// started.
var ErrNotLinux = fmt.Errorf("%w on %s: gateways run on Linux, so run obolctl on their host", errors.ErrUnsupported, runtime.GOOS)

// BootID fails.
func BootID() (string, error) { return "", ErrNotLinux }

// Started fails.
func Started(int) (ticks uint64, ok bool, err error) { return 0, false, ErrNotLinux }

// Executable fails.
func Executable(int) (device, inode uint64, ok bool, err error) { return 0, 0, false, ErrNotLinux }

// Observe fails.
func Observe(int, string) (*resource.Identity, error) { return nil, ErrNotLinux }

// FreeBind fails.
func FreeBind(string, string, syscall.RawConn) error { return ErrNotLinux }
