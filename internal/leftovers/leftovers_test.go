package leftovers

import (
	"os/exec"
	"strings"
	"testing"
)

func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ours := exec.CommandContext(t.Context(), "sh", "-c", "echo ready; read line", dir+"/config")
	others := exec.CommandContext(t.Context(), "cat")
	for _, cmd := range []*exec.Cmd{ours, others} {
		if _, err := cmd.StdinPipe(); err != nil {
			t.Fatal(err)
		}
	}
	ready, err := ours.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{ours, others} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ready.Read(make([]byte, 1)); err != nil { // from here on it has its command line
		t.Fatal(err)
	}

	killed, err := Kill(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(killed) != 1 || !strings.HasSuffix(killed[0], dir+"/config") {
		t.Errorf("killed %q, want the one process that names %q", killed, dir)
	}
	if err := ours.Wait(); err == nil || err.Error() != "signal: killed" {
		t.Errorf("the process that names the folder ended with %v", err)
	}
	if again, err := Kill(dir); len(again) > 0 || err != nil {
		t.Errorf("a second time killed %q, %v", again, err)
	}
	if err := others.Process.Kill(); err != nil {
		t.Errorf("the other process is gone: %v", err)
	}
	if err := others.Wait(); err == nil {
		t.Error("the other process ended by itself")
	}
}
