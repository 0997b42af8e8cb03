package main_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// TestFigures measures what is promised of gateways and commands. It prints,
// and fails only where something is far from what it should be.
func TestFigures(t *testing.T) {
	o := newOperator(t)
	ports := unusedPorts(t, 10)
	o.alone(upstream(), ports...)
	o.must(0, "apply", "--auto-approve")

	var starts []time.Duration
	config := filepath.Join(o.dir, "alone", resource.ConfigFile)
	data, err := os.ReadFile(o.folder("a0", resource.ConfigFile))
	if err != nil {
		t.Fatal(err)
	}
	kill9(t, o.record("a0").PID)
	gone(t, o.record("a0").PID)
	for range 20 {
		o.write("alone/config.json", string(data))
		cmd := o.command("gateway", "serve", "--config", config)
		began := time.Now()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, 5*time.Second, func() string {
			if answers(ports[0]) == 0 {
				return "it does not answer"
			}
			return ""
		})
		starts = append(starts, time.Since(began))
		kill9(t, cmd.Process.Pid)
		_ = cmd.Wait() // it was killed
	}
	o.must(0, "converge")

	var memory []int
	for i := range ports {
		memory = append(memory, rssAnon(t, o.record(fmt.Sprintf("a%d", i)).PID))
	}

	for i := range ports {
		kill9(t, o.record(fmt.Sprintf("a%d", i)).PID)
	}
	began := time.Now()
	o.must(0, "converge")
	restored := time.Since(began)
	for _, port := range ports {
		if answers(port) == 0 {
			t.Errorf("nobody answers at %d", port)
		}
	}

	var versions []time.Duration
	for range 20 {
		began := time.Now()
		o.must(0, "version")
		versions = append(versions, time.Since(began))
	}
	slices.Sort(starts)
	slices.Sort(memory)
	slices.Sort(versions)
	t.Logf("gateway from exec to answering: median %v (%v to %v)", starts[10], starts[0], starts[19])
	t.Logf("anonymous memory of an idle gateway: median %d KB (%d to %d)", memory[5], memory[0], memory[9])
	t.Logf("converge restores 10 gateways in %v", restored)
	t.Logf("version: median %v (%v to %v)", versions[10], versions[0], versions[19])
	if starts[0] > 500*time.Millisecond || memory[0] > 20<<10 || versions[0] > 200*time.Millisecond {
		t.Error("these are not the figures of this program")
	}
}
