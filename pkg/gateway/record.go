package gateway

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/kernel"
	"github.com/obolctl/obolctl/pkg/resource"
)

// takeLock holds the folder against a second gateway until the process ends.
func takeLock(dir string) (*os.File, error) {
	path := filepath.Join(dir, resource.LockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot lock the gateway's folder: %v", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = fmt.Errorf("another gateway runs in %q, and two for one offer cannot", dir)
	}
	if err == nil {
		err = stillThere(f, path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stillThere fails when the file at path is not f any more: the folder was
// removed while we waited, and the lock would keep nobody out.
func stillThere(f *os.File, path string) error {
	mine, err := f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(path)
	if err != nil || !os.SameFile(mine, there) {
		return fmt.Errorf("the lock %q was removed while it was taken", path)
	}
	return nil
}

// enter makes the record of this process. It is written once the configuration
// is known.
func (s *server) enter() error {
	id, err := identify()
	if err != nil {
		return err
	}
	id.Version = s.Version
	s.record = resource.Record{Identity: id, Unit: ownUnit()}
	var last resource.Record
	var ended resource.Ending
	if durable.ReadJSON(filepath.Join(s.path, resource.RecordFile), &last) != nil || last.BootID != id.BootID {
		return nil
	}
	asked := durable.ReadJSON(filepath.Join(s.path, resource.ExitFile), &ended) == nil &&
		ended.Instance == last.Instance && ended.Code == 0 && ended.Signal == ""
	if !asked {
		s.record.Restarts = last.Restarts + 1
	}
	return nil
}

// leave writes how this process ends.
func (s *server) leave(cause error) error {
	ending := resource.Ending{Instance: s.record.Instance, Exit: resource.Exit{At: time.Now().UTC()}}
	switch {
	case errors.Is(cause, ErrMustNotRun):
		ending.Code = 78
	case cause != nil:
		ending.Code = 1
	}
	return durable.WriteJSON(filepath.Join(s.path, resource.ExitFile), ending)
}

// writeRecord writes the record. The caller holds mu.
func (s *server) writeRecord() error {
	err := durable.WriteJSON(filepath.Join(s.path, resource.RecordFile), s.record)
	s.written = err == nil
	return err
}

// catchUp writes what there was no room for, whenever somebody asks how this
// gateway is. It gives why payments are refused. The caller holds mu.
func (s *server) catchUp() error {
	if !s.written {
		_ = s.writeRecord() // the log has said why
	}
	if s.ledger == nil {
		return nil
	}
	return s.ledger.Mend()
}

// identify tells what this process is and no other.
func identify() (resource.Identity, error) {
	boot, err := kernel.BootID()
	if err != nil {
		return resource.Identity{}, err
	}
	id, err := kernel.Observe(os.Getpid(), boot)
	if err == nil && id == nil {
		err = errors.New("cannot find this process in /proc")
	}
	if err != nil {
		return resource.Identity{}, err
	}
	id.Instance, id.Started = rand.Text(), time.Now().UTC()
	return *id, nil
}

// ownUnit names the unit of systemd that this process runs in as a gateway; empty
// when it is detached, whichever unit the one who started it is in.
func ownUnit() string {
	groups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(groups)) {
		unit := path.Base(strings.TrimSpace(line))
		if _, _, ours := resource.ParseUnitName(unit); ours {
			return unit
		}
	}
	return ""
}
