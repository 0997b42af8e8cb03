package state_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/obolctl/obolctl/pkg/state"
)

// holdLock takes the lock, says so, and dies with it when its input ends.
func holdLock(dir string) error {
	s, err := state.Open(dir, "home")
	if err != nil {
		return err
	}
	if _, err := s.Lock(context.Background(), "obolctl apply", 0); err != nil {
		return err
	}
	fmt.Println("locked")
	_, err = bufio.NewReader(os.Stdin).ReadString('\n')
	return err
}

// startHolder gives a process that has the lock.
func startHolder(t *testing.T, dir string) *exec.Cmd {
	t.Helper()
	cmd := child(t, "hold", dir)
	in, err1 := cmd.StdinPipe()
	out, err2 := cmd.StdoutPipe()
	must(t, err1, err2, cmd.Start())
	t.Cleanup(func() { _ = in.Close() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || line != "locked\n" {
		t.Fatalf("the other process says %q (%v)", line, err)
	}
	return cmd
}

// TestRule11_OneWriterAtATime has another process hold the lock, asks who it
// is, and kills it: then the lock is free, without anybody's help.
func TestRule11_OneWriterAtATime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSite(t, dir)
	other := startHolder(t, dir)

	for _, timeout := range []time.Duration{0, 60 * time.Millisecond} {
		_, err := s.Lock(t.Context(), "test", timeout)
		locked, ok := errors.AsType[*state.LockedError](err)
		if !ok || locked.Site != "home" || locked.Claim.PID != other.Process.Pid || locked.Claim.Command != "obolctl apply" {
			t.Fatalf("Lock(%v) = %v, want that process %d has it", timeout, err, other.Process.Pid)
		}
		if age := time.Since(locked.Claim.Since); age < 0 || age > time.Minute {
			t.Errorf("locked since %v", locked.Claim.Since)
		}
		want := fmt.Sprintf(`site "home" is locked by process %d (obolctl apply) since %s`, other.Process.Pid, locked.Claim.Since.Local().Format(time.DateTime))
		if err.Error() != want {
			t.Errorf("error is %q, want %q", err, want)
		}
	}
	claim, locked, err := s.LockedBy()
	if err != nil || !locked || claim.PID != other.Process.Pid {
		t.Errorf("LockedBy = %v %v %v", claim, locked, err)
	}

	must(t, other.Process.Kill())
	if err := other.Wait(); err == nil {
		t.Fatal("the other process ended by itself")
	}
	if claim, locked, err := s.LockedBy(); locked || err != nil {
		t.Errorf("LockedBy after the kill = %v %v %v", claim, locked, err)
	}
	must(t, lock(t, s).Close())
}

// TestLockWaits gets the lock as soon as another Tx of this process gives it
// back, and not before.
func TestLockWaits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, dir)
		first := lock(t, s)
		start := time.Now()
		time.AfterFunc(10*time.Second, func() { must(t, first.Close()) })
		second, err := s.Lock(t.Context(), "test", 30*time.Second)
		must(t, err)
		if waited := time.Since(start); waited < 10*time.Second || waited > 10*time.Second+100*time.Millisecond {
			t.Errorf("waited %v, want 10s", waited)
		}
		must(t, second.Close())
	})
}

func TestLockStopsWaiting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		s := openSite(t, dir)
		tx := lock(t, s)
		start := time.Now()
		if _, err := s.Lock(t.Context(), "test", 30*time.Second); err == nil || !strings.Contains(err.Error(), "is locked by") {
			t.Errorf("Lock = %v", err)
		}
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("waited %v, want 30s", waited)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.Lock(ctx, "test", 30*time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock = %v, want the context's error", err)
		}
		must(t, tx.Close())
	})
}

// TestLockOfARemovedFolder takes a lock that is worth something even where the
// folder went away under one that is held.
func TestLockOfARemovedFolder(t *testing.T) {
	t.Parallel()
	s := openSite(t, t.TempDir())
	first := lock(t, s)
	must(t, os.RemoveAll(s.Dir()))
	second := lock(t, s)
	if _, err := s.Lock(t.Context(), "test", 0); err == nil {
		t.Error("the new lock was given twice")
	}
	must(t, first.Close())
	if _, err := s.Lock(t.Context(), "test", 0); err == nil {
		t.Error("closing the old lock freed the new one")
	}
	must(t, second.Close())
}

// TestLockSweeps removes what a kill left in the middle of a write.
func TestLockSweeps(t *testing.T) {
	t.Parallel()
	s := fullSite(t, t.TempDir())
	left := []string{filepath.Join(s.Dir(), ".site.json.1.tmp"), filepath.Join(s.Dir(), "accepted", ".000003.json.1.tmp")}
	for _, path := range left {
		must(t, os.WriteFile(path, []byte("half"), 0o600))
	}
	must(t, lock(t, s).Close())
	for _, path := range left {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}
