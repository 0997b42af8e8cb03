package gateway

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// maxLog is the size in bytes at which a log file is put aside.
const maxLog = 10 << 20

// A boundedLog keeps a log file from growing for ever. Standard output and
// error go along with it, so that a panic lands in the log as well.
type boundedLog struct {
	mu    sync.Mutex
	path  string
	fds   []int // that the log is open as
	limit int64
}

// bounded gives w itself, unless w is the file at path.
func bounded(w io.Writer, path string) io.Writer {
	f, ok := w.(*os.File)
	if !ok {
		return w
	}
	var at unix.Stat_t
	if unix.Stat(path, &at) != nil {
		return w
	}
	l := &boundedLog{path: path, limit: maxLog}
	for _, fd := range []int{int(f.Fd()), 1, 2} {
		var open unix.Stat_t
		if unix.Fstat(fd, &open) == nil && open.Dev == at.Dev && open.Ino == at.Ino {
			l.fds = append(l.fds, fd)
		}
	}
	if len(l.fds) == 0 || l.fds[0] != int(f.Fd()) {
		return w
	}
	return l
}

// Write appends one line. A log that cannot be put aside is written to all the
// same.
func (l *boundedLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var now unix.Stat_t
	if unix.Fstat(l.fds[0], &now) == nil && now.Size > 0 && now.Size+int64(len(line)) > l.limit {
		if err := l.rotate(); err != nil {
			line = fmt.Appendf(nil, "%s%s\n", line, err)
		}
	}
	return unix.Write(l.fds[0], line)
}

// rotate puts the file aside and starts another.
func (l *boundedLog) rotate() error {
	if err := os.Rename(l.path, l.path+".1"); err != nil {
		return fmt.Errorf("cannot put the log aside: %v", err)
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("cannot start another log: %v", err)
	}
	defer func() { _ = f.Close() }() // the duplicates stay open
	for _, fd := range l.fds {
		if err := unix.Dup2(int(f.Fd()), fd); err != nil {
			return fmt.Errorf("cannot write to the new log: %v", err)
		}
	}
	return nil
}
