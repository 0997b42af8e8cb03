package state

import (
	"os"
	"syscall"
	"testing"
)

// TestCloseFreesTheLockForAll gives the lock back while another descriptor of
// its file is open, as a process has that was just forked from this one.
func TestCloseFreesTheLockForAll(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), "home")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tx, err := s.Lock(t.Context(), "test", 0)
		if err != nil {
			t.Fatal(err)
		}
		forked, err := syscall.Dup(int(tx.lock.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = syscall.Close(forked) })
		if err := tx.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestLockOfAFileThatIsGone opens the lock's file and has the folder removed,
// and made again by somebody else, before it is locked: that lock would keep
// nobody out.
func TestLockOfAFileThatIsGone(t *testing.T) {
	t.Parallel()
	s, err := Open(t.TempDir(), "home")
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range []bool{false, true} {
		if err := s.makeDir(); err != nil {
			t.Fatal(err)
		}
		f, err := os.Create(s.path(lockFile))
		if err != nil {
			t.Fatal(err)
		}
		if locked, err := s.lockOpen(f); !locked || err != nil {
			t.Fatalf("the file is there, and the lock is %v, %v", locked, err)
		}
		if err := os.RemoveAll(s.dir); err != nil {
			t.Fatal(err)
		}
		if again {
			if err := s.makeDir(); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(s.path(lockFile), nil, fileMode); err != nil {
				t.Fatal(err)
			}
		}
		if locked, err := s.lockOpen(f); locked || err != nil {
			t.Errorf("the file is gone, and the lock is %v, %v", locked, err)
		}
		if err := unlock(f); err != nil {
			t.Fatal(err)
		}
	}
}
