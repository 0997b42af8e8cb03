package main

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"time"
)

// memory reads one of the sizes in a process's status, such as "RssAnon", in
// bytes.
func memory(pid int, name string) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := bytes.Cut(text, []byte("\n"+name+":"))
	var kb int64
	if _, err := fmt.Sscan(string(after), &kb); err != nil {
		return 0, fmt.Errorf("cannot read the memory of process %d: %w", pid, err)
	}
	return kb << 10, nil
}

// tick is the unit in which the kernel tells times of processes.
const tick = 10 * time.Millisecond

// cpu gives the time that a process has been on a core, in steps of a tick.
func cpu(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(text), ") ") // the name before it may hold anything
	fields := strings.Fields(after)
	if len(fields) < 13 {
		return 0, fmt.Errorf("cannot read the times of process %d: %q", pid, text)
	}
	var user, system int64
	if _, err := fmt.Sscan(fields[11]+" "+fields[12], &user, &system); err != nil {
		return 0, fmt.Errorf("cannot read the times of process %d: %w", pid, err)
	}
	return time.Duration(user+system) * tick, nil
}

// A peak watches the memory of a process, and remembers the most.
type peak struct {
	pid  int
	quit chan struct{}
	done chan struct{}
	most int64
	err  error
}

func watchPeak(pid int) *peak {
	p := &peak{pid: pid, quit: make(chan struct{}), done: make(chan struct{})}
	go p.run()
	return p
}

func (p *peak) run() {
	defer close(p.done)
	every := time.NewTicker(5 * time.Millisecond)
	defer every.Stop()
	for p.err == nil {
		var now int64
		now, p.err = memory(p.pid, "RssAnon")
		p.most = max(p.most, now)
		select {
		case <-p.quit:
			return
		case <-every.C:
		}
	}
}

// end gives the most that was seen.
func (p *peak) end() (int64, error) {
	close(p.quit)
	<-p.done
	return p.most, p.err
}
