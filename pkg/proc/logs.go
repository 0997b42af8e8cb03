package proc

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// LogOptions say which lines of a gateway's log are wanted. The zero value is
// all of them.
type LogOptions struct {
	Follow   bool      // go on until the context is done
	Since    time.Time // zero: from the beginning
	Lines    int       // only the last ones; 0: all
	Previous bool      // of the process before the last; never followed
}

// Logs writes a gateway's log to w. When it follows, it returns nil once ctx
// is done.
func (s *Supervisor) Logs(ctx context.Context, id resource.ID, o LogOptions, w io.Writer) error {
	dir := s.folder(id)
	p := &picker{LogOptions: o}
	var size int64
	var last os.FileInfo
	found := false
	for _, name := range []string{resource.LastLogFile, resource.LogFile} {
		f, err := os.Open(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cannot read the log of %s: %v", id, err)
		}
		found = true
		size, err = p.read(ctx, f)
		if err == nil {
			last, err = f.Stat()
		}
		if err := errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("cannot read the log of %s: %w", id, err)
		}
	}
	if !found {
		return fmt.Errorf("%s has no log here", id)
	}
	for _, line := range p.picked() {
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	if !o.Follow || o.Previous {
		return nil
	}
	return follow(ctx, filepath.Join(dir, resource.LogFile), last, size, w)
}

// A picker keeps the lines that are wanted. Lines without a time of their own,
// as a panic has, belong to the line before them.
type picker struct {
	LogOptions
	lines [][]byte
	last  [][]byte // of the process before
	late  bool     // Since is reached
}

// read takes the lines of one file, and tells how much of it was read. A line
// that is not whole yet is left for later.
func (p *picker) read(ctx context.Context, r io.Reader) (size int64, err error) {
	in := bufio.NewReader(r)
	for {
		line, err := in.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return size, err
		}
		size += int64(len(line))
		p.take(line)
	}
}

func (p *picker) take(line []byte) {
	var entry struct {
		Time     time.Time `json:"time"`
		Message  string    `json:"msg"`
		Instance string    `json:"instance"`
	}
	if json.Unmarshal(line, &entry) == nil && !entry.Time.IsZero() {
		p.late = !entry.Time.Before(p.Since)
	}
	if entry.Message == "starting" && entry.Instance != "" && p.Previous {
		p.last, p.lines = p.lines, nil
	}
	if !p.late && !p.Since.IsZero() {
		return
	}
	p.lines = append(p.lines, line)
	if p.Lines > 0 && len(p.lines) > p.Lines {
		p.lines = p.lines[1:]
	}
}

func (p *picker) picked() [][]byte {
	if p.Previous {
		return p.last
	}
	return p.lines
}

// follow writes what is added to the file at path after the first size bytes of
// what was there, and goes along when the file is put aside.
func follow(ctx context.Context, path string, was os.FileInfo, size int64, w io.Writer) error {
	l := &followed{path: path, file: was, at: size}
	defer l.close()
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for {
		if err := l.copy(w); err != nil {
			return fmt.Errorf("cannot follow the log: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// A followed is a log that grows.
type followed struct {
	path string
	file os.FileInfo // which file the path named last
	at   int64       // where to begin in it
	f    *os.File    // it; nil until it was opened
}

func (l *followed) close() {
	if l.f != nil {
		_ = l.f.Close() // read only: nothing can be lost
	}
}

// copy writes what has been added. A file that was put aside is finished
// before the next one is begun.
func (l *followed) copy(w io.Writer) error {
	now, err := os.Stat(l.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	moved := err == nil && !os.SameFile(now, l.file)
	if l.f != nil {
		if _, err := io.Copy(w, l.f); err != nil {
			return err
		}
	}
	if err != nil || l.f != nil && !moved {
		return nil
	}
	l.close()
	if moved {
		l.file, l.at = now, 0
	}
	if l.f, err = os.Open(l.path); err != nil {
		return err
	}
	if _, err := l.f.Seek(l.at, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, l.f)
	return err
}
