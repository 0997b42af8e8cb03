//go:build crashtest

package main

import (
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

// crashPoint kills this very process at the point of a run that
// OBOLCTL_CRASH_AT names, as a power cut would: at once, or a while later, as
// in "begun+3ms". At OBOLCTL_STOP_AT it stops until it gets SIGCONT, and at
// OBOLCTL_HANG_AT the step does not go on. OBOLCTL_CRASH_LOG names a file that
// gets a line for each point. Only tests build this.
func crashPoint(p process) func(string) {
	at, delay, later := strings.Cut(p.getenv("OBOLCTL_CRASH_AT"), "+")
	path := p.getenv("OBOLCTL_CRASH_LOG")
	after, err := time.ParseDuration(delay)
	if later && err != nil {
		panic("OBOLCTL_CRASH_AT: " + err.Error())
	}
	stop, hang := p.getenv("OBOLCTL_STOP_AT"), p.getenv("OBOLCTL_HANG_AT")
	var mu sync.Mutex
	return func(point string) {
		if path != "" {
			mu.Lock()
			logPoint(path, point)
			mu.Unlock()
		}
		switch {
		case point == stop:
			_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case point == hang:
			select {}
		case point == at && later:
			time.AfterFunc(after, kill)
		case point == at:
			kill()
		}
	}
}

func kill() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // nothing happens between the signal and the end
}

func logPoint(path, point string) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err == nil {
		_, err = f.WriteString(point + "\n")
	}
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		panic("OBOLCTL_CRASH_LOG: " + err.Error())
	}
}
