package boot_test

import (
	"bytes"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/obolctl/obolctl/pkg/boot"
)

var update = flag.Bool("update", false, "write the golden files")

// home is a setup as most have it.
func home() boot.Setup {
	return boot.Setup{
		Site: "home", Exe: "/home/op/.local/share/obolctl/bin/obolctl", StateDir: "/home/op/.local/state/obolctl", ConfigDir: "/home/op/.config",
		Environ: []string{"KUBECONFIG=/home/op/.kube/config", "PATH=/usr/local/bin:/usr/bin"}, Every: 3 * time.Minute,
	}
}

// awkward is one whose every value has what systemd would read as something else.
func awkward() boot.Setup {
	return boot.Setup{
		Site: "shop", Exe: `/home/a b/50%/%h $HOME;`, StateDir: "/home/a b/%h/state", ConfigDir: "/home/a b/100% $x",
		Environ: []string{"KUBECONFIG=/a b/%i:/c\"d\\e", "PATH=/tab\there:/line\nthere:/ünï"}, Every: 90 * time.Second, Notify: "tell me@%i.service",
	}
}

func TestUnits(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]boot.Setup{"home": home(), "awkward": awkward()} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := &txtar.Archive{}
			for _, u := range boot.Units(setup) {
				got.Files = append(got.Files, txtar.File{Name: u.Name, Data: u.Text})
			}
			golden := filepath.Join("testdata", name+".txtar")
			if *update {
				if err := os.WriteFile(golden, txtar.Format(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(txtar.Format(got))); diff != "" {
				t.Errorf("units (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRecorded(t *testing.T) {
	t.Parallel()
	for name, setup := range map[string]boot.Setup{"home": home(), "awkward": awkward()} {
		units := boot.Units(setup)
		got, ok := boot.Recorded(units[2].Text)
		if diff := cmp.Diff(setup, got); !ok || diff != "" {
			t.Errorf("%s: Recorded = %v (-want +got):\n%s", name, ok, diff)
		}
		if _, ok := boot.Recorded(units[0].Text); ok {
			t.Errorf("%s: %s records a setup", name, units[0].Name)
		}
	}
}

// TestUnitsVerify asks systemd itself, where it is installed, whether there is
// anything in the units that it does not know or would ignore.
func TestUnitsVerify(t *testing.T) {
	t.Parallel()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	dir := t.TempDir()
	exe := filepath.Join(dir, `a b%h $e;50%`)
	if err := os.WriteFile(exe, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	setup := awkward()
	setup.Exe = exe
	var args []string
	for _, u := range boot.Units(setup) {
		path := filepath.Join(dir, u.Name)
		if err := os.WriteFile(path, u.Text, 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	verify := func() string {
		cmd := exec.Command(analyze, append([]string{"verify", "--user", "--man=no", "--generators=no"}, args...)...)
		cmd.Env = []string{"XDG_RUNTIME_DIR=" + dir, "HOME=" + dir, "PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if err != nil {
			out = append(out, err.Error()...)
		}
		return string(bytes.TrimSpace(out))
	}
	if out := verify(); out != "" {
		t.Errorf("systemd-analyze verify:\n%s", out)
	}
	text := bytes.Replace(boot.Units(setup)[2].Text, []byte("RestartSec="), []byte("RestartSteps=1\nRestartSec="), 1)
	if err := os.WriteFile(filepath.Join(dir, boot.ConvergeService("shop")), text, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := verify(); !strings.Contains(out, "RestartSteps") { // control: newer than systemd 252
		t.Skipf("this systemd knows RestartSteps=, or says nothing of what it does not know: %q", out)
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	with := func(change func(*boot.Setup)) boot.Setup {
		s := awkward()
		change(&s)
		return s
	}
	for name, tc := range map[string]struct {
		setup boot.Setup
		want  string // in the error; empty: there is none
	}{
		"home":        {home(), ""},
		"awkward":     {awkward(), ""},
		"quote":       {with(func(s *boot.Setup) { s.Exe = `/home/o"q/obolctl` }), "no executable at"},
		"apostrophe":  {with(func(s *boot.Setup) { s.Exe = `/home/o'q/obolctl` }), "no executable at"},
		"backslash":   {with(func(s *boot.Setup) { s.Exe = `/home/o\q/obolctl` }), "no executable at"},
		"line feed":   {with(func(s *boot.Setup) { s.Exe = "/home/o\nq/obolctl" }), "no executable at"},
		"pattern":     {with(func(s *boot.Setup) { s.ConfigDir = "/home/o/[a]" }), "no environment file below"},
		"two lines":   {with(func(s *boot.Setup) { s.ConfigDir = "/home/o\nExecStartPre=/x" }), "no environment file below"},
		"not UTF-8":   {with(func(s *boot.Setup) { s.StateDir = "/home/\xff" }), "not UTF-8"},
		"environment": {with(func(s *boot.Setup) { s.Environ = []string{"PATH=\xff"} }), "not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := tc.setup.Check(); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Check = %v, want %q", err, tc.want)
			}
		})
	}
}

func TestPinning(t *testing.T) {
	t.Parallel()
	got := boot.Pinning([]string{"PATH=/old", "SECRET=x", "PATH=/bin", "OBOLCTL_FILE=", "KUBECONFIG=/k=1", "HTTPS_PROXY=http://u:p@h"})
	if diff := cmp.Diff([]string{"KUBECONFIG=/k=1", "PATH=/bin"}, got); diff != "" {
		t.Errorf("Pinning (-want +got):\n%s", diff)
	}
}
