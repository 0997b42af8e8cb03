package durable

import (
	"errors"
	"os"
	"syscall"
)

// SyncData is [os.File.Sync] without what only dates a file: when it returns nil,
// what was written survives a power cut.
func SyncData(f *os.File) error {
	for {
		if err := syscall.Fdatasync(int(f.Fd())); !errors.Is(err, syscall.EINTR) {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}
