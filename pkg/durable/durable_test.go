package durable_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/durable"
)

// The test binary runs itself as a process that can be limited or killed.
const roleVariable = "DURABLE_TEST_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "limited":
		os.Exit(writeLimited(os.Args[1]))
	case "writer":
		os.Exit(writeForEver(os.Args[1]))
	default:
		panic("no role " + role)
	}
}

// child runs the test binary in a role, on a path.
func child(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], path)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	return cmd
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

func TestWriteFileReplacesWhole(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "site.json")
	for _, w := range []struct {
		data string
		perm fs.FileMode
	}{{"old and rather long", 0o600}, {"new", 0o640}, {"", 0o666}} {
		if err := durable.WriteFile(path, []byte(w.data), w.perm); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != w.data || info.Mode().Perm() != w.perm {
			t.Errorf("file is %q %v, want %q %v", got, info.Mode().Perm(), w.data, w.perm)
		}
		if diff := cmp.Diff([]string{"site.json"}, names(t, filepath.Dir(path))); diff != "" {
			t.Errorf("folder (-want +got):\n%s", diff)
		}
	}
}

func TestWriteFileTakesARelativePath(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if err := durable.WriteFile("a", []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

// TestWriteFileThatFailsLeavesTheOld covers failures before anything is written
// and at the very last step.
func TestWriteFileThatFailsLeavesTheOld(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path string
		want error
	}{
		"no such folder":     {"gone/f", fs.ErrNotExist},
		"a file as a folder": {"file/f", syscall.ENOTDIR},
		"a folder is there":  {"full", fs.ErrExist},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "file"), []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, "full", "x"), 0o700); err != nil {
				t.Fatal(err)
			}
			before := names(t, dir)
			path := filepath.Join(dir, tc.path)
			err := durable.WriteFile(path, []byte("new"), 0o600)
			if !errors.Is(err, tc.want) {
				t.Errorf("WriteFile = %v, want %v", err, tc.want)
			}
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("cannot write %q", path)) {
				t.Errorf("WriteFile = %v, which does not name %q", err, path)
			}
			if diff := cmp.Diff(before, names(t, dir)); diff != "" {
				t.Errorf("folder (-before +after):\n%s", diff)
			}
		})
	}
}

// TestWriteFileOnAFullDiskLeavesTheOld limits the size of files in a process of
// its own, so that a write stops in its middle as it does on a full disk.
func TestWriteFileOnAFullDiskLeavesTheOld(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "site.json")
	if err := durable.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := child(t, "limited", path).CombinedOutput()
	if err != nil {
		t.Fatalf("child: %v\n%s", err, out)
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != "old" {
		t.Errorf("file is %q (%v), want the old one", got, err)
	}
	if diff := cmp.Diff([]string{"site.json"}, names(t, filepath.Dir(path))); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
}

func writeLimited(path string) int {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 4096, Max: 4096}); err != nil {
		fmt.Println(err)
		return 1
	}
	err := durable.WriteFile(path, make([]byte, 10_000), 0o600)
	if !errors.Is(err, syscall.EFBIG) {
		fmt.Printf("WriteFile = %v, want EFBIG\n", err)
		return 1
	}
	return 0
}

const blockSize = 1 << 20

// writeForEver writes files of one letter each, and tells after the first.
func writeForEver(path string) int {
	for i := 0; ; i++ {
		if err := durable.WriteFile(path, bytes.Repeat([]byte{byte('a' + i%26)}, blockSize), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
		fmt.Println(i)
	}
}

// TestKilledWriterLeavesAWholeFile kills a writer at moments that differ, and
// finds one of its files whole each time, and nothing besides after a sweep.
func TestKilledWriterLeavesAWholeFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for round := range 8 {
		cmd := child(t, "writer", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, out, int64(2+round)); err != nil { // some files were written
			t.Fatal(err)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != blockSize || bytes.Count(got, got[:1]) != blockSize {
			t.Fatalf("round %d: file of %d bytes is not whole", round, len(got))
		}
		if err := durable.Sweep(dir); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"f"}, names(t, dir)); diff != "" {
			t.Fatalf("folder after the sweep (-want +got):\n%s", diff)
		}
	}
}

func TestSweepTakesOnlyTemporaryFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{".site.json.123.tmp", ".hidden", "notes.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, ".folder.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Sweep(dir); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{".folder.tmp", ".hidden", "notes.tmp"}, names(t, dir)); diff != "" {
		t.Errorf("folder (-want +got):\n%s", diff)
	}
	if err := durable.Sweep(filepath.Join(dir, "absent")); err != nil {
		t.Errorf("Sweep of an absent folder = %v", err)
	}
}

func TestMkdirAll(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "b", "c")
	for range 2 {
		if err := durable.MkdirAll(path, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for p := path; p != dir; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode(); got != fs.ModeDir|0o700 {
			t.Errorf("%s is %v, want drwx------", p, got)
		}
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{file, filepath.Join(file, "below")} {
		if err := durable.MkdirAll(p, 0o700); err == nil || !strings.Contains(err.Error(), "cannot make folder") {
			t.Errorf("MkdirAll(%s) = %v, want an error that says so", p, err)
		}
	}
}

func TestRemove(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := durable.Remove(path); err != nil {
			t.Fatal(err)
		}
		if got := names(t, dir); got != nil {
			t.Fatalf("folder holds %v", got)
		}
	}
	if err := durable.Remove(filepath.Join(dir, "absent", "f")); err != nil {
		t.Errorf("Remove in an absent folder = %v", err)
	}
	full := filepath.Join(dir, "full", "x")
	if err := os.MkdirAll(full, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := durable.Remove(filepath.Dir(full)); err == nil || !strings.Contains(err.Error(), "cannot remove") {
		t.Errorf("Remove of a full folder = %v, want an error that says so", err)
	}
}

// TestJSON reads back what was written, and tells a file that is not there from
// one that is broken.
func TestJSON(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "record.json")
	var got map[string]int
	if err := durable.ReadJSON(path, &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading nothing = %v", err)
	}
	want := map[string]int{"pid": 7}
	if err := durable.WriteJSON(path, want); err != nil {
		t.Fatal(err)
	}
	if err := durable.ReadJSON(path, &got); err != nil || !cmp.Equal(want, got) {
		t.Errorf("read %v, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("it has %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := durable.ReadJSON(path, &got); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("reading half a file = %v", err)
	}
	if err := durable.WriteJSON(path, func() {}); err == nil {
		t.Error("a function was written")
	}
}
