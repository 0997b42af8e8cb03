package boot_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/resource"
)

// manager connects to the service manager of whoever runs the tests, and has it
// look for units where none are kept for long. Where units of obolctl are
// installed, they are left in peace.
func manager(t *testing.T) (m *boot.Manager, dir string) {
	t.Helper()
	runtime := fmt.Sprintf("/run/user/%d", os.Getuid())
	m, err := boot.Connect(context.Background(), os.Getuid(), runtime) // cleaning up needs it, too
	if err != nil {
		t.Skipf("no manager to try units on: %v", err)
	}
	t.Cleanup(m.Close)
	for _, name := range []string{boot.Target, resource.UnitName("a", resource.ID{Namespace: "b", Name: "c"})} {
		s, err := m.Inspect(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if s.Load != "not-found" {
			t.Skipf("%s is installed here", name)
		}
	}
	return m, boot.UnitDir(runtime)
}

// played is an awkward setup whose executable writes down how it is run.
func played(t *testing.T) boot.Setup {
	t.Helper()
	dir := t.TempDir()
	s := awkward()
	s.Exe = filepath.Join(dir, `a b%h $e;50%`, "obolctl")
	s.ConfigDir = filepath.Join(dir, "100% $x")
	s.Every = time.Hour
	script := "#!/bin/sh\nfor a in \"$@\"; do printf '%s\\0' \"$a\"; done >\"$0.args\"\n/usr/bin/env -0 >\"$0.env\"\n"
	for path, text := range map[string]string{s.Exe: script, boot.EnvironmentFile(s.ConfigDir): "FROM_FILE=yes\n"} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func install(t *testing.T, m *boot.Manager, s boot.Setup) []string {
	t.Helper()
	changed, err := m.Install(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return changed
}

// ill gives the checks of what is installed that do not come out well.
func ill(t *testing.T, m *boot.Manager, dir string, s boot.Setup) []boot.Check {
	t.Helper()
	f := boot.Facts{Account: "op", Accepted: 1, Setup: s, Lingers: true, Pinned: boot.Pinned{Digest: "d"}, Digest: "d"}
	var err error
	if f.Files, err = boot.FilesIn(dir, boot.Units(s)); err != nil {
		t.Fatal(err)
	}
	inspect := func(name string) boot.State {
		state, err := m.Inspect(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	f.Units = []boot.State{inspect(boot.Target), inspect(boot.ConvergeService(s.Site)), inspect(boot.ConvergeTimer(s.Site))}
	gateway := inspect(resource.UnitName(s.Site, resource.ID{Namespace: "llm", Name: "qwen"}))
	gateway.Enabled = "enabled" // nobody started it yet
	f.Gateways = []boot.State{gateway}
	return slices.DeleteFunc(boot.Examine(f), func(c boot.Check) bool { return c.Verdict == boot.Good })
}

// TestInstall goes through the life of units with the real service manager: they
// are installed once, run with every word and variable as it was meant, are
// mended, and leave nothing behind.
func TestInstall(t *testing.T) {
	m, dir := manager(t)
	s := played(t)
	t.Cleanup(func() {
		if _, err := m.Uninstall(context.Background(), s.Site); err != nil {
			t.Errorf("cannot clean up: %v", err)
		}
	})
	service, timer := boot.ConvergeService(s.Site), boot.ConvergeTimer(s.Site)
	want := []string{
		"wrote " + dir + "/obolctl-gateway@.service", "wrote " + dir + "/" + boot.Target, "wrote " + dir + "/" + service, "wrote " + dir + "/" + timer,
		"enabled " + boot.Target, "enabled " + service, "enabled " + timer, "started " + boot.Target,
	}
	if diff := cmp.Diff(want, install(t, m, s)); diff != "" {
		t.Errorf("installed (-want +got):\n%s", diff)
	}
	if again := install(t, m, s); len(again) > 0 {
		t.Errorf("installed again: %s", again)
	}
	if faults := ill(t, m, dir, s); len(faults) > 0 {
		t.Errorf("not well: %+v", faults)
	}
	t.Run("runs as it was meant", func(t *testing.T) { runs(t, m, s) })
	t.Run("is mended", func(t *testing.T) { mended(t, m, dir, s) })

	removed, err := m.Uninstall(t.Context(), s.Site)
	want = []string{dir + "/" + timer, dir + "/" + service, dir + "/" + boot.Target, dir + "/obolctl-gateway@.service"}
	if diff := cmp.Diff(want, removed); diff != "" || err != nil {
		t.Errorf("removed (-want +got): %v\n%s", err, diff)
	}
	if state, err := m.Inspect(t.Context(), timer); err != nil || state.Load != "not-found" {
		t.Errorf("afterwards: %+v, %v", state, err)
	}
	if removed, err := m.Uninstall(t.Context(), s.Site); err != nil || len(removed) > 0 {
		t.Errorf("removed again: %s, %v", removed, err)
	}
}

// TestUninstallOneOfTwo: what goes on at boot is of the site that is left.
func TestUninstallOneOfTwo(t *testing.T) {
	m, dir := manager(t)
	one := played(t)
	other := one
	other.Site = "other"
	for _, s := range []boot.Setup{one, other} {
		t.Cleanup(func() {
			if _, err := m.Uninstall(context.Background(), s.Site); err != nil {
				t.Errorf("cannot clean up: %v", err)
			}
		})
		install(t, m, s)
		systemctl(t, "enable", resource.UnitName(s.Site, resource.ID{Namespace: "llm", Name: "qwen"}), resource.UnitName(s.Site, resource.ID{Namespace: "llm", Name: "llama"}))
	}
	if _, err := m.Uninstall(t.Context(), one.Site); err != nil {
		t.Fatal(err)
	}
	wanted := slices.Sorted(strings.FieldsSeq(systemctl(t, "show", "--property=Wants", "--value", boot.Target)))
	want := []string{
		boot.ConvergeService("other"), boot.ConvergeTimer("other"),
		resource.UnitName("other", resource.ID{Namespace: "llm", Name: "llama"}), resource.UnitName("other", resource.ID{Namespace: "llm", Name: "qwen"}),
	}
	if diff := cmp.Diff(want, wanted); diff != "" {
		t.Errorf("the target wants (-want +got):\n%s", diff)
	}
	if faults := ill(t, m, dir, other); len(faults) > 0 {
		t.Errorf("the other site is not well: %+v", faults)
	}
}

func runs(t *testing.T, m *boot.Manager, s boot.Setup) {
	if result, err := m.Run(t.Context(), boot.ConvergeService(s.Site)); result != "done" || err != nil {
		t.Fatalf("Run = %q, %v", result, err)
	}
	read := func(suffix string) []string {
		t.Helper()
		data, err := os.ReadFile(s.Exe + suffix)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSuffix(string(data), "\x00"), "\x00")
	}
	if diff := cmp.Diff([]string{"converge", "--unit", "--site", s.Site, "--notify", s.Notify}, read(".args")); diff != "" {
		t.Errorf("arguments (-want +got):\n%s", diff)
	}
	env := read(".env")
	for _, want := range append([]string{"OBOLCTL_STATE_DIR=" + s.StateDir, "FROM_FILE=yes"}, s.Environ...) {
		if !slices.Contains(env, want) {
			t.Errorf("the environment lacks %q:\n%q", want, env)
		}
	}
}

func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "systemctl", append([]string{"--user"}, args...)...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("XDG_RUNTIME_DIR=/run/user/%d", os.Getuid()))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("systemctl %s: %v\n%s", args, err, out)
	}
	return string(out)
}

// mended harms what is installed, one thing after the other: that is seen, and a
// further install mends it. Drop-ins are kept.
func mended(t *testing.T, m *boot.Manager, dir string, s boot.Setup) {
	service, timer := boot.ConvergeService(s.Site), boot.ConvergeTimer(s.Site)
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		name string
		harm func()
		seen string // in the checks
		want []string
	}{
		{"stopped", func() { systemctl(t, "stop", timer) }, "not active: " + timer, []string{"started " + timer}},
		{"disabled", func() { systemctl(t, "disable", boot.Target) }, "not enabled: " + boot.Target, []string{"enabled " + boot.Target}},
		{"edited", func() { write(timer, "[Timer]\nOnActiveSec=1d\n") }, "not as they would be installed: " + timer, []string{"wrote " + dir + "/" + timer}},
		{"removed", func() {
			if err := os.Remove(filepath.Join(dir, timer)); err != nil {
				t.Fatal(err)
			}
		}, "missing: " + timer, []string{"wrote " + dir + "/" + timer}},
		{"drop-in, not loaded", func() { write(service+".d/nice.conf", "[Service]\nNice=5\n") }, "changed since they were loaded: " + service, nil},
	} {
		step.harm()
		if faults := fmt.Sprint(ill(t, m, dir, s)); !strings.Contains(faults, step.seen) {
			t.Errorf("%s: checks say %s, want %q", step.name, faults, step.seen)
		}
		if diff := cmp.Diff(step.want, install(t, m, s)); diff != "" {
			t.Errorf("%s: mended (-want +got):\n%s", step.name, diff)
		}
		if faults := slices.DeleteFunc(ill(t, m, dir, s), func(c boot.Check) bool { return c.Verdict != boot.Bad }); len(faults) > 0 {
			t.Errorf("%s: still ill: %+v", step.name, faults)
		}
	}
	if text, err := os.ReadFile(filepath.Join(dir, service+".d/nice.conf")); err != nil || !bytes.Contains(text, []byte("Nice=5")) {
		t.Errorf("the drop-in was not kept: %q, %v", text, err)
	}
	if err := os.RemoveAll(filepath.Join(dir, service+".d")); err != nil {
		t.Fatal(err)
	}
}
