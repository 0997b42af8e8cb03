//go:build crashtest

package main

import (
	"os"
	"syscall"
)

// crashPoint kills this very process at the point of a run that
// OBOLCTL_CRASH_AT names, as a power cut would. Only tests build this.
func crashPoint(p process) func(string) {
	at := p.getenv("OBOLCTL_CRASH_AT")
	if at == "" {
		return nil
	}
	return func(point string) {
		if point == at {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
}
