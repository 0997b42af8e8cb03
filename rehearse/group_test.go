//go:build rehearse

package rehearse_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A group is a control group, by the path of its folder. All that is in it can
// be stopped, and ended, at once.
type group string

// mountedGroups finds the uppermost group.
func mountedGroups() (group, error) {
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); fields[2] == "cgroup2" {
			return group(fields[1]), nil
		}
	}
	return "", errors.New("version 2 of control groups is not mounted")
}

// child makes a group below. In that, all can be limited that may be here; only
// its children can have processes.
func (g group) child(name string) (group, error) {
	made := g.leaf(name)
	if err := os.Mkdir(string(made), 0o755); err != nil {
		return "", err
	}
	controllers, err := os.ReadFile(made.file("cgroup.controllers"))
	if err != nil {
		return "", err
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := made.write("cgroup.subtree_control", "+"+c); err != nil {
			return "", err
		}
	}
	return made, nil
}

func (g group) leaf(name string) group { return group(filepath.Join(string(g), name)) }

func (g group) file(name string) string { return filepath.Join(string(g), name) }

func (g group) write(name, value string) error {
	return os.WriteFile(g.file(name), []byte(value), 0)
}

// start starts a command in the group, which is made when it is missing.
func (g group) start(cmd *exec.Cmd) error {
	if err := os.MkdirAll(string(g), 0o755); err != nil {
		return err
	}
	folder, err := os.Open(string(g))
	if err != nil {
		return err
	}
	defer folder.Close()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.UseCgroupFD, cmd.SysProcAttr.CgroupFD = true, int(folder.Fd())
	return cmd.Start()
}

// run runs a command in the group and gives what it wrote. That goes to a file,
// since what it leaves running would keep a pipe open.
func (g group) run(cmd *exec.Cmd) (string, error) {
	out, err := os.CreateTemp(scratch, "")
	if err != nil {
		return "", err
	}
	defer os.Remove(out.Name()) //nolint:errcheck // it goes with scratch
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := g.start(cmd); err != nil {
		return "", err
	}
	ended := cmd.Wait()
	said, err := os.ReadFile(out.Name())
	return string(said), errors.Join(ended, err)
}

// freeze returns when nothing in the group runs any more.
func (g group) freeze() error {
	if err := g.write("cgroup.freeze", "1"); err != nil {
		return err
	}
	return g.await("frozen 1")
}

// thaw has what was frozen go on.
func (g group) thaw() error { return g.write("cgroup.freeze", "0") }

// end kills everything in the group, also what is frozen, and removes it.
func (g group) end() error {
	if err := g.write("cgroup.kill", "1"); err != nil {
		return err
	}
	if err := g.await("populated 0"); err != nil {
		return err
	}
	var below []string
	err := filepath.WalkDir(string(g), func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			below = append(below, path)
		}
		return err
	})
	for i := len(below) - 1; i >= 0; i-- {
		err = errors.Join(err, os.Remove(below[i]))
	}
	return err
}

// patience is how long anything is waited for: long, on a machine that is busy
// with other things, and yet so short that the timer which converges every three
// minutes does not do in time what should have been done at once.
const patience = 2 * time.Minute

// await waits until the group's events have a line.
func (g group) await(line string) error {
	deadline := time.Now().Add(patience)
	for {
		events, err := os.ReadFile(g.file("cgroup.events"))
		if err != nil {
			return err
		}
		if strings.Contains(string(events), line+"\n") {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not come to be %s", g, line)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// eventually waits until what says nothing any more, and fails the test with
// what it says after the limit.
func eventually(t testing.TB, limit time.Duration, what func() string) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		said := what()
		if said == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v: %s", limit, said)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
