package proc_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

func line(second int, msg string) string {
	return fmt.Sprintf(`{"time":"2026-01-02T03:04:%02dZ","level":"INFO","msg":%q}`+"\n", second, msg)
}

func beginning(second int) string {
	return fmt.Sprintf(`{"time":"2026-01-02T03:04:%02dZ","level":"INFO","msg":"starting","instance":"i%d"}`+"\n", second, second)
}

func TestLogs(t *testing.T) {
	t.Parallel()
	dir, want := t.TempDir(), unique()
	home := folder(dir, want.ID)
	plant(t, home, want, nil)
	older := beginning(1) + line(2, "a") + "panic: oh\n"
	newer := beginning(3) + line(4, "b") + "panic: no\n\tgoroutine 1\n" + beginning(6) + line(7, "c") + "half a li"
	for name, text := range map[string]string{resource.LastLogFile: older, resource.LogFile: newer} {
		if err := os.WriteFile(filepath.Join(home, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(second int) time.Time { return time.Date(2026, 1, 2, 3, 4, second, 0, time.UTC) }
	for name, tc := range map[string]struct {
		o    proc.LogOptions
		want string
	}{
		"all":               {proc.LogOptions{}, older + strings.TrimSuffix(newer, "half a li")},
		"last two":          {proc.LogOptions{Lines: 2}, beginning(6) + line(7, "c")},
		"since":             {proc.LogOptions{Since: at(4)}, line(4, "b") + "panic: no\n\tgoroutine 1\n" + beginning(6) + line(7, "c")},
		"since, last three": {proc.LogOptions{Since: at(4), Lines: 3}, "\tgoroutine 1\n" + beginning(6) + line(7, "c")},
		"since later":       {proc.LogOptions{Since: at(50)}, ""},
		"previous":          {proc.LogOptions{Previous: true}, beginning(3) + line(4, "b") + "panic: no\n\tgoroutine 1\n"},
		"previous, last":    {proc.LogOptions{Previous: true, Lines: 1, Follow: true}, "\tgoroutine 1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			if err := supervisor(t, dir, nil).Logs(t.Context(), want.ID, tc.o, &b); err != nil {
				t.Fatal(err)
			}
			if b.String() != tc.want {
				t.Errorf("log =\n%s\nwant\n%s", b.String(), tc.want)
			}
		})
	}
	t.Run("none", func(t *testing.T) {
		t.Parallel()
		if err := supervisor(t, dir, nil).Logs(t.Context(), unique().ID, proc.LogOptions{}, &bytes.Buffer{}); err == nil {
			t.Error("Logs of what never was = nil")
		}
	})
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// TestLogsFollow adds lines, puts the log aside, and adds more: each line is
// told once.
func TestLogsFollow(t *testing.T) {
	t.Parallel()
	dir, want := t.TempDir(), unique()
	home := folder(dir, want.ID)
	plant(t, home, want, nil)
	path := filepath.Join(home, resource.LogFile)
	add := func(text string) {
		t.Helper()
		f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(text); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	add(line(1, "a") + line(2, "b") + "half")
	ctx, cancel := context.WithCancel(t.Context())
	out, done := &syncBuffer{}, make(chan error)
	go func() {
		done <- supervisor(t, dir, nil).Logs(ctx, want.ID, proc.LogOptions{Follow: true, Lines: 1}, out)
	}()
	eventually(t, "the last line", func() bool { return strings.HasPrefix(out.String(), line(2, "b")) })
	add(" a line\n")
	eventually(t, "the whole line", func() bool { return strings.HasSuffix(out.String(), "half a line\n") })
	add(line(3, "c"))
	if err := os.Rename(path, filepath.Join(home, resource.LastLogFile)); err != nil {
		t.Fatal(err)
	}
	add(line(4, "d"))
	all := line(2, "b") + "half a line\n" + line(3, "c") + line(4, "d")
	eventually(t, "all lines", func() bool { return out.String() == all })
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Logs = %v", err)
	}
	if out.String() != all {
		t.Errorf("log =\n%s\nwant\n%s", out.String(), all)
	}
}
