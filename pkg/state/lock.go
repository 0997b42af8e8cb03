package state

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
)

const lockFile = "lock"

// lockPoll is how often a lock that another process has is asked for again.
const lockPoll = 50 * time.Millisecond

// A Claim is who has a site's lock. The zero Claim is somebody who has not yet
// said so.
type Claim struct {
	PID     int       `json:"pid"`
	Command string    `json:"command"`
	Since   time.Time `json:"since"`
}

// A LockedError tells that another process writes to the site.
type LockedError struct {
	Site  string
	Claim Claim
}

func (e *LockedError) Error() string {
	if e.Claim.PID == 0 {
		return fmt.Sprintf("site %q is locked by another process", e.Site)
	}
	return fmt.Sprintf("site %q is locked by process %d (%s) since %s",
		e.Site, e.Claim.PID, e.Claim.Command, e.Claim.Since.Local().Format("2006-01-02 15:04:05"))
}

// A Tx is a site's lock, and all that may be done under it. The kernel frees the
// lock of a process that dies. Only the journal of a Tx is safe for concurrent
// use.
type Tx struct {
	site    *Site
	lock    *os.File // nil once closed
	rec     record   // as on disk
	journal *Journal
}

// Lock makes the site's folder when it is missing and takes its lock, waiting
// for up to timeout; not at all when that is 0. It fails with a [*LockedError]
// when another process, or another Tx of this one, still has it. command says
// what this process does, for the others.
//
// What a killed run left is tidied up: its journal is folded in, and its
// temporary files are removed.
func (s *Site) Lock(ctx context.Context, command string, timeout time.Duration) (*Tx, error) {
	if err := s.makeDir(); err != nil {
		return nil, err
	}
	f, err := s.acquire(ctx, timeout)
	if err != nil {
		return nil, err
	}
	t := &Tx{site: s, lock: f}
	if err := t.prepare(Claim{os.Getpid(), command, time.Now().UTC()}); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

// makeDir makes the site's folder, for nobody else to read.
func (s *Site) makeDir() error {
	if err := durable.MkdirAll(s.dir, folderMode); err != nil {
		return fmt.Errorf("cannot make the state folder of site %q: %w", s.name, err)
	}
	info, err := os.Stat(s.dir)
	if err == nil && info.Mode().Perm() != folderMode {
		err = os.Chmod(s.dir, folderMode)
	}
	if err != nil {
		return fmt.Errorf("cannot keep the state folder of site %q private: %w", s.name, err)
	}
	return nil
}

func (s *Site) acquire(ctx context.Context, timeout time.Duration) (*os.File, error) {
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	for {
		f, err := s.tryLock()
		if f != nil || err != nil {
			return f, err
		}
		if timeout <= 0 {
			return nil, s.lockedError()
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("stopped waiting for the lock of site %q: %w", s.name, ctx.Err())
		case <-deadline.C:
			return nil, s.lockedError()
		case <-time.After(lockPoll):
		}
	}
}

// tryLock gives the locked file, or nil when somebody else has it.
func (s *Site) tryLock() (*os.File, error) {
	f, err := os.OpenFile(s.path(lockFile), os.O_RDWR|os.O_CREATE, fileMode)
	if err != nil {
		return nil, fmt.Errorf("cannot lock site %q: %w", s.name, err)
	}
	locked, err := s.lockOpen(f)
	if locked && err == nil {
		return f, nil
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("cannot lock site %q: %w", s.name, err)
	}
	return nil, nil
}

// lockOpen locks f, and reports false when somebody else has it or when f is
// not what others find in its place: the folder was removed and made again
// since f was opened.
func (s *Site) lockOpen(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	ours, err := f.Stat()
	if err != nil {
		return false, err
	}
	theirs, err := os.Stat(s.path(lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(ours, theirs), err
}

// unlock closes f, and frees its lock even where a process that is just being
// started has f too, until it executes its program.
func unlock(f *os.File) error {
	return errors.Join(syscall.Flock(int(f.Fd()), syscall.LOCK_UN), f.Close())
}

func (s *Site) lockedError() error {
	claim, err := s.claim()
	return errors.Join(&LockedError{s.name, claim}, err)
}

// claim reads what the lock's file says. What cannot be understood, since it is
// being written, is the zero Claim.
func (s *Site) claim() (Claim, error) {
	data, err := os.ReadFile(s.path(lockFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Claim{}, fmt.Errorf("cannot read the lock: %w", err)
	}
	var c Claim
	if json.Unmarshal(data, &c) != nil {
		return Claim{}, nil
	}
	return c, nil
}

// LockedBy tells who has the lock now. It waits for nobody and leaves the lock
// as it is.
func (s *Site) LockedBy() (claim Claim, locked bool, err error) {
	f, err := os.Open(s.path(lockFile))
	if errors.Is(err, fs.ErrNotExist) {
		return Claim{}, false, nil
	}
	if err != nil {
		return Claim{}, false, fmt.Errorf("cannot read the lock: %w", err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if unlockErr := unlock(f); unlockErr != nil {
		return Claim{}, false, fmt.Errorf("cannot read the lock: %w", unlockErr)
	}
	switch {
	case err == nil:
		return Claim{}, false, nil
	case errors.Is(err, syscall.EWOULDBLOCK):
		claim, err = s.claim()
		return claim, true, err
	}
	return Claim{}, false, fmt.Errorf("cannot tell who has the lock of site %q: %w", s.name, err)
}

// prepare reads the state that the Tx will change, says who has the lock, and
// tidies up after a killed run. Nothing is written before all could be read.
func (t *Tx) prepare(c Claim) error {
	left, err := t.site.readJournal()
	if err != nil {
		return err
	}
	if t.rec, err = t.site.record(); err != nil {
		return err
	}
	if err := t.say(c); err != nil {
		return err
	}
	for _, dir := range []string{t.site.dir, t.site.path(acceptedDir)} {
		if err := durable.Sweep(dir); err != nil {
			return err
		}
	}
	t.journal = &Journal{tx: t}
	rec := t.rec.clone()
	left.foldInto(&rec)
	if left.number != 0 {
		marks, err := t.site.marks()
		if err != nil {
			return err
		}
		if err := t.SetMarks(left.settle(t.rec, marks)); err != nil {
			return err
		}
	}
	if err := t.save(rec); err != nil || left.number == 0 {
		return err
	}
	return durable.Remove(t.site.path(journalFile))
}

// say writes the claim into the lock's file, in place: a new file would not be
// the one that is locked.
func (t *Tx) say(c Claim) error {
	data, err := json.Marshal(c)
	if err == nil {
		err = t.lock.Truncate(0)
	}
	if err == nil {
		_, err = io.NewOffsetWriter(t.lock, 0).Write(append(data, '\n'))
	}
	if err != nil {
		return t.site.full(fmt.Errorf("cannot say who locked site %q: %w", t.site.name, err))
	}
	return nil
}

// held fails when the lock was given back.
func (t *Tx) held() error {
	if t.lock == nil {
		return fmt.Errorf("internal error: site %q is written to without its lock", t.site.name)
	}
	return nil
}

// Close gives the lock back. A journal that was not finished is left for the
// next Lock. Closing twice is an error.
func (t *Tx) Close() error {
	if err := t.held(); err != nil {
		return err
	}
	var journalErr error
	if t.journal != nil {
		journalErr = t.journal.close()
	}
	err := errors.Join(journalErr, t.lock.Truncate(0), unlock(t.lock))
	t.lock = nil
	if err != nil {
		return fmt.Errorf("cannot give back the lock of site %q: %w", t.site.name, err)
	}
	return nil
}
