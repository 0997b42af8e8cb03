package boot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/obolctl/obolctl/pkg/durable"
)

// Names in the folder of executables. A copy is called after its digest.
const (
	linkName    = "obolctl"
	freshSuffix = ".new" // of the link that takes its place
	copyPrefix  = "obolctl-"
	digestLen   = 16 // hex digits
)

// A Pinned is the executable that units run. The zero value is: none is pinned.
type Pinned struct {
	Link   string // what units name
	Path   string // the copy that it leads to
	Digest string // the first 16 hex digits of its SHA-256, as its name says
}

// PinnedIn tells which executable is pinned in a folder. It reads the link alone:
// whether the copy is whole, [Pinned.Check] tells.
func PinnedIn(dir string) (Pinned, error) {
	link := filepath.Join(dir, linkName)
	name, err := os.Readlink(link)
	if errors.Is(err, fs.ErrNotExist) {
		return Pinned{}, nil
	}
	if err != nil {
		return Pinned{}, fmt.Errorf("cannot tell which executable is pinned: %v", err)
	}
	digest, ours := strings.CutPrefix(name, copyPrefix)
	if !ours || len(digest) != digestLen {
		return Pinned{}, fmt.Errorf("%q leads to %q, which obolctl did not pin: remove it", link, name)
	}
	return Pinned{link, filepath.Join(dir, name), digest}, nil
}

// Check fails when the copy is gone, cannot be run, or is not what its name says.
func (p Pinned) Check() error {
	info, err := os.Stat(p.Path)
	if err != nil {
		return fmt.Errorf("cannot find the executable: %v", err)
	}
	if info.Mode()&0o100 == 0 {
		return fmt.Errorf("%q is not executable", p.Path)
	}
	digest, err := Digest(p.Path)
	if err != nil {
		return err
	}
	if digest != p.Digest {
		return fmt.Errorf("%q is damaged: its digest is %s", p.Path, digest)
	}
	return nil
}

// Digest gives the first 16 hex digits of a file's SHA-256.
func Digest(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("cannot read the executable: %v", err)
	}
	return digestOf(data), nil
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])[:digestLen]
}

// Pin makes the folder's link lead to a copy of the executable, which it makes
// unless a whole one is there, and removes the copies that nothing runs any more;
// the one that it replaces stays, to go back to. A power cut leaves the old
// executable pinned, or the new one.
func Pin(dir, exe string) (Pinned, error) {
	data, err := os.ReadFile(exe)
	if err != nil {
		return Pinned{}, fmt.Errorf("cannot read the executable: %v", err)
	}
	if err := durable.MkdirAll(dir, 0o700); err != nil {
		return Pinned{}, err
	}
	unlock, err := lock(dir)
	if err != nil {
		return Pinned{}, err
	}
	defer unlock()
	p := Pinned{Link: filepath.Join(dir, linkName), Digest: digestOf(data)}
	if err := errors.Join(durable.Sweep(dir), durable.Remove(p.Link+freshSuffix)); err != nil { // of runs that were killed
		return Pinned{}, err
	}
	p.Path = filepath.Join(dir, copyPrefix+p.Digest)
	if p.Check() != nil {
		if err := durable.WriteFile(p.Path, data, 0o700); err != nil {
			return Pinned{}, err
		}
	}
	before, err := PinnedIn(dir)
	if err != nil || before != p {
		if err := flip(p); err != nil {
			return Pinned{}, err
		}
	}
	return p, sweep(dir, p, before)
}

// lock makes those who pin take turns.
func lock(dir string) (unlock func(), err error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the folder of executables: %v", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("cannot lock %q: %v", dir, errors.Join(err, f.Close()))
	}
	return func() { _ = f.Close() }, nil // which ends the lock
}

// flip makes the link lead to a copy. A link of another's making is replaced.
func flip(p Pinned) error {
	fresh := p.Link + freshSuffix
	if err := os.Symlink(filepath.Base(p.Path), fresh); err != nil {
		return fmt.Errorf("cannot pin the executable: %v", err)
	}
	if err := os.Rename(fresh, p.Link); err != nil {
		return fmt.Errorf("cannot pin the executable: %v", err)
	}
	return durable.SyncDir(filepath.Dir(p.Link))
}

// Running finds the copies in a folder that gateways run, of whichever site, by the
// IDs of their processes.
func Running(dir string) (map[int]Pinned, error) {
	copies, err := filepath.Glob(filepath.Join(dir, copyPrefix+"*"))
	if err != nil {
		return nil, fmt.Errorf("cannot list the executables: %v", err)
	}
	out := map[int]Pinned{}
	for _, path := range copies {
		pids, err := runners(path)
		if err != nil {
			return nil, err
		}
		for _, pid := range pids {
			if serves(pid) {
				out[pid] = Pinned{filepath.Join(dir, linkName), path, strings.TrimPrefix(filepath.Base(path), copyPrefix)}
			}
		}
	}
	return out, nil
}

// serves tells whether a process is a gateway. What else is ours is over soon.
func serves(pid int) bool {
	args, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	return err == nil && bytes.Contains(args, []byte("\x00gateway\x00serve\x00"))
}

// sweep removes the copies that are neither to be kept nor run by anybody. Where
// nobody can say, they may be run.
func sweep(dir string, keep ...Pinned) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("cannot list the executables: %v", err)
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if !strings.HasPrefix(e.Name(), copyPrefix) || slices.ContainsFunc(keep, func(p Pinned) bool { return p.Path == path }) {
			continue
		}
		if pids, err := runners(path); err != nil || len(pids) > 0 {
			continue
		}
		if err := durable.Remove(path); err != nil {
			return err
		}
	}
	return nil
}

// runners gives the processes that run an executable, of those that we may look at.
func runners(path string) ([]int, error) {
	exe, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("cannot tell who runs an executable: %v", err)
	}
	processes, err := filepath.Glob("/proc/[0-9]*")
	if err != nil || len(processes) == 0 {
		return nil, fmt.Errorf("cannot tell who runs %q: there are no processes in /proc", path)
	}
	var pids []int
	for _, process := range processes {
		info, err := os.Stat(filepath.Join(process, "exe"))
		if pid, bad := strconv.Atoi(filepath.Base(process)); bad == nil && err == nil && os.SameFile(info, exe) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}
