// Package durable writes files so that a crash leaves the old one or the new
// one, whole.
package durable

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Temporary files stand beside what they will replace, as .NAME.RANDOM.tmp.
const suffix = ".tmp"

// WriteFile makes data the content of the file at path, with exactly the
// permissions perm: the umask does not count. When it returns nil, the file
// survives a power cut. When it fails before the rename, a full disk for one,
// the old file is whole and nothing else is left; when only syncing the folder
// failed, the new file is in place and may be lost by a power cut. A kill may
// leave a temporary file, which [Sweep] removes.
//
// A symbolic link at path is replaced, not followed. Writers of one path must
// take turns if it matters which of them comes last.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	f, err := os.CreateTemp(dir, "."+name+".*"+suffix)
	if err != nil {
		return fmt.Errorf("cannot write %q: %w", path, err)
	}
	if err := fill(f, data, perm); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("cannot write %q: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return SyncDir(dir)
}

// WriteJSON writes v as [WriteFile] does, indented, with permissions 0600.
func WriteJSON(path string, v any) error {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("cannot write %q: %v", path, err)
	}
	return WriteFile(path, append(data, '\n'), 0o600)
}

// ReadJSON reads what [WriteJSON] wrote. It fails with [fs.ErrNotExist] where
// there is no file.
func ReadJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("cannot read %q: %v", path, err)
	}
	return nil
}

// fill writes, syncs and closes f.
func fill(f *os.File, data []byte, perm fs.FileMode) error {
	_, err := f.Write(data)
	if err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// MkdirAll makes the folder at path and those above it that are missing, each
// with perm before the umask, so that they survive a power cut. A folder that
// is there keeps its permissions.
func MkdirAll(path string, perm fs.FileMode) error {
	path = filepath.Clean(path)
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := MkdirAll(parent, perm); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, perm); err != nil {
		if info, statErr := os.Stat(path); statErr == nil && info.IsDir() {
			return nil // another process was faster
		}
		return fmt.Errorf("cannot make folder %q: %w", path, err)
	}
	return SyncDir(parent)
}

// Remove removes the file or empty folder at path so that a power cut does not
// bring it back. Removing what is absent succeeds.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %q: %w", path, err)
	}
	dir := filepath.Dir(path)
	if err := SyncDir(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep removes the temporary files that killed writers left in a folder. The
// caller must know that nobody writes there now. Sweeping an absent folder
// succeeds.
func Sweep(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return fmt.Errorf("cannot sweep %q: %w", dir, err)
	}
	for _, e := range entries {
		if e.Type().IsRegular() && strings.HasPrefix(e.Name(), ".") && strings.HasSuffix(e.Name(), suffix) {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("cannot sweep %q: %w", dir, err)
			}
		}
	}
	return nil
}

// SyncDir makes renames, links and removals in a folder durable. A file system that
// cannot sync folders (EINVAL, ENOTSUP) orders them by itself.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("cannot sync folder %q: %w", dir, err)
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil
	}
	if err := errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("cannot sync folder %q: %w", dir, err)
	}
	return nil
}
