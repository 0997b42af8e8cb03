//go:build !linux

package durable

import "os"

// SyncData is [os.File.Sync] here, where less cannot be asked for.
func SyncData(f *os.File) error { return f.Sync() }
