// Package process starts, recognises and stops processes that outlive the
// command that started them. It reads /proc, so it works on Linux only.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// A Process names one process for good. Its number alone does not: numbers are
// used again, soon after a reboot.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks from boot to start
	Boot  string `json:"boot"`  // the kernel's id of that boot
}

const poll = 10 * time.Millisecond

// Alive tells whether the process still runs. A zombie does not.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// Stop ends the process and returns when it is gone: by SIGTERM, and by SIGKILL
// after grace, or at once if grace is 0. A process that is gone already, or
// whose number belongs to another now, is a success.
func (p Process) Stop(ctx context.Context, grace time.Duration) error {
	// The handle is opened before the identity is checked, and sticks to one
	// process, so that a signal cannot reach a later one with the same number.
	handle, err := os.FindProcess(p.PID)
	if err != nil {
		return nil
	}
	defer handle.Release()
	if !p.Alive() {
		return nil
	}
	if grace > 0 {
		if err := p.signalAndWait(ctx, handle, syscall.SIGTERM, grace); !errors.Is(err, errStillThere) {
			return err
		}
	}
	return p.signalAndWait(ctx, handle, syscall.SIGKILL, 10*time.Second)
}

var errStillThere = errors.New("it is still there")

func (p Process) signalAndWait(ctx context.Context, handle *os.Process, sig syscall.Signal, limit time.Duration) error {
	if err := handle.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("cannot stop process %d: %w", p.PID, err)
	}
	deadline := time.After(limit)
	for p.Alive() {
		select {
		case <-time.After(poll):
		case <-deadline:
			return fmt.Errorf("cannot stop process %d with %v: %w", p.PID, sig, errStillThere)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// identify fails if there is no such process, or only its zombie.
func identify(pid int) (Process, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Process{}, err
	}
	// Field 2, the name, is in parentheses and may hold any character.
	after := bytes.LastIndexByte(stat, ')')
	if after < 0 {
		return Process{}, fmt.Errorf("cannot read the state of process %d: %q", pid, stat)
	}
	fields := strings.Fields(string(stat[after+1:])) // from field 3, the state
	if len(fields) < 20 {
		return Process{}, fmt.Errorf("cannot read the state of process %d: %q", pid, stat)
	}
	// A process whose first thread is dead holds its files and ports until the
	// others are too.
	state, threads := fields[0], fields[17]
	if state == "X" || state == "Z" && (threads == "0" || threads == "1") {
		return Process{}, os.ErrProcessDone
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	if err != nil {
		return Process{}, fmt.Errorf("cannot read the start time of process %d: %w", pid, err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Process{}, fmt.Errorf("cannot read the boot id: %w", err)
	}
	return Process{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}
