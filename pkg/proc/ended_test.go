package proc_test

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestNoteEnd notes what systemd says of a process, unless that was noted already,
// or was another's.
func TestNoteEnd(t *testing.T) {
	t.Parallel()
	const unit = "home:apps:x"
	ours := resource.Record{Identity: resource.Identity{Instance: "i", PID: 7, BootID: "b"}, Unit: "obolctl-gateway@home:apps:x.service"}
	detached := ours
	detached.Unit = ""
	noted := &resource.Ending{Instance: "i", Exit: resource.Exit{At: time.Unix(1, 0).UTC()}}
	of := func(e resource.Exit) *resource.Ending { return &resource.Ending{Instance: "i", Exit: e} }
	for name, tc := range map[string]struct {
		code, status, result string
		record               any
		was, want            *resource.Ending
	}{
		"killed":                       {"killed", "KILL", "signal", ours, nil, of(resource.Exit{Signal: "SIGKILL"})},
		"by the watchdog":              {"exited", "2", "watchdog", ours, nil, of(resource.Exit{Signal: "SIGABRT"})},
		"by the watchdog at last":      {"killed", "KILL", "watchdog", ours, nil, of(resource.Exit{Signal: "SIGABRT"})},
		"out of memory":                {"killed", "KILL", "oom-kill", ours, nil, of(resource.Exit{Signal: "SIGKILL", OOM: true})},
		"exited":                       {"exited", "3", "exit-code", ours, nil, of(resource.Exit{Code: 3})},
		"the one before was noted":     {"killed", "KILL", "signal", ours, &resource.Ending{Instance: "h"}, of(resource.Exit{Signal: "SIGKILL"})},
		"it has noted its end itself":  {"exited", "0", "success", ours, noted, noted},
		"there was no process":         {"", "", "resources", ours, nil, nil},
		"it left no record":            {"killed", "KILL", "signal", nil, nil, nil},
		"it was in no unit":            {"killed", "KILL", "signal", detached, nil, nil},
		"systemd says what is no code": {"exited", "x", "exit-code", ours, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			plant(t, dir, spec("x"), tc.record)
			path := filepath.Join(dir, resource.ExitFile)
			if tc.was != nil {
				data, err := json.Marshal(tc.was)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			said := map[string]string{"EXIT_CODE": tc.code, "EXIT_STATUS": tc.status, "SERVICE_RESULT": tc.result}
			proc.NoteEnd(dir, unit, func(name string) string { return said[name] })
			var got *resource.Ending
			data, err := os.ReadFile(path)
			if err == nil {
				err = json.Unmarshal(data, &got)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.IgnoreFields(resource.Exit{}, "At")); diff != "" {
				t.Errorf("noted (-want +got):\n%s", diff)
			}
			if tc.was == nil && got != nil && time.Since(got.At) > time.Minute {
				t.Errorf("noted at %v", got.At)
			}
		})
	}
}
