package main_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestBootWritesNothing tries each command where there is no systemd, or none that
// looks into this home: it says so, and writes nothing.
func TestBootWritesNothing(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	for _, args := range [][]string{{"install"}, {"install", "--upgrade", "--every", "1m"}, {"rehearse"}, {"uninstall"}} {
		r := op.must(1, append([]string{"boot"}, args...)...)
		if r.stdout != "" || !strings.Contains(r.stderr, "systemd") && !strings.Contains(r.stderr, "manager") {
			t.Errorf("boot %s: %s", args, r)
		}
		if strings.Contains(r.stderr, "not booted by systemd") && !strings.Contains(strings.Join(strings.Fields(r.stderr), " "), "as op, at boot and again when it ends: obolctl converge --watch") {
			t.Errorf("boot %s does not say what to do instead: %s", args, r)
		}
	}
	op.must(1, "boot", "status")
	op.must(0, "boot", "print")
	op.holdsOnly("")
}

func TestBootUsage(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	for name, args := range map[string][]string{
		"an argument": {"install", "now"},
		"too often":   {"print", "--every", "1s"},
		"no unit":     {"print", "--notify", "../tell"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			op.must(64, append([]string{"boot"}, args...)...)
		})
	}
}

// TestBootPrint shows the units with what was said, for a site that was applied.
func TestBootPrint(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	op.write("offers.hcl", note(t, "tides"))
	op.must(0, "apply", "--auto-approve")
	op.write("kube.yaml", "")
	r := op.must(0, "boot", "print", "--json", "--every", "10m", "--notify", "tell", "--kubeconfig", "kube.yaml")
	var doc struct {
		Site, Folder string
		Units        map[string]string
	}
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		t.Fatal(err)
	}
	if doc.Site != "default" || doc.Folder != op.dir+"/.config/systemd/user" {
		t.Errorf("site %q, folder %q", doc.Site, doc.Folder)
	}
	for unit, wants := range map[string][]string{
		"obolctl-gateway@.service": {`ExecStart=:"` + op.dir + `/.local/share/obolctl/bin/obolctl" gateway serve --unit %i`},
		"obolctl-converge@default.service": {
			`obolctl" converge --unit --site default --notify tell.service`, `Environment="OBOLCTL_STATE_DIR=` + op.dir + `/state/obolctl"`,
			`Environment="OBOLCTL_FILE=` + op.dir + `/offers.hcl"`, `Environment="KUBECONFIG=` + op.dir + `/kube.yaml"`,
		},
		"obolctl-converge@default.timer": {"OnUnitInactiveSec=600"},
		"obolctl.target":                 {"WantedBy=default.target"},
	} {
		for _, want := range wants {
			if !strings.Contains(doc.Units[unit], want) {
				t.Errorf("%s lacks %q:\n%s", unit, want, doc.Units[unit])
			}
		}
	}
	var names []string
	for line := range strings.Lines(op.must(0, "boot", "print").stdout) {
		if path, is := strings.CutPrefix(line, "# "+doc.Folder+"/"); is {
			names = append(names, strings.TrimSpace(path))
		}
	}
	slices.Sort(names)
	want := []string{"obolctl-converge@default.service", "obolctl-converge@default.timer", "obolctl-gateway@.service", "obolctl.target"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("units shown (-want +got):\n%s", diff)
	}
}

// TestBootKeepsEnvironment: what the units run with is what was installed, unless
// somebody says otherwise, whatever shell install is typed in again.
func TestBootKeepsEnvironment(t *testing.T) {
	t.Parallel()
	op := newOperator(t)
	op.write("offers.hcl", note(t, "tides"))
	op.write("kube.yaml", "")
	op.write("other.yaml", "")
	printed := func(args ...string) string {
		t.Helper()
		var doc struct{ Units map[string]string }
		if err := json.Unmarshal([]byte(op.must(0, append([]string{"boot", "print", "--json"}, args...)...).stdout), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Units["obolctl-converge@default.service"]
	}
	environ := func(unit string) string {
		var lines []string
		for line := range strings.Lines(unit) {
			if kv, is := strings.CutPrefix(line, "Environment="); is && !strings.Contains(kv, "OBOLCTL_STATE_DIR=") {
				lines = append(lines, strings.TrimSpace(strings.ReplaceAll(kv, op.dir, "~")))
			}
		}
		return strings.Join(lines, " ")
	}
	op.write(".config/systemd/user/obolctl-converge@default.service", printed("--kubeconfig", "kube.yaml"))
	before := environ(printed())
	op.env = append(op.env, "PATH=/elsewhere:"+os.Getenv("PATH"), "KUBECONFIG=/none")
	if err := os.Remove(op.dir + "/offers.hcl"); err != nil {
		t.Fatal(err)
	}
	if now := environ(printed()); now != before || !strings.Contains(now, `"KUBECONFIG=~/kube.yaml"`) || !strings.Contains(now, `"OBOLCTL_FILE=~/offers.hcl"`) {
		t.Errorf("in another shell it would pin %s, and had pinned %s", now, before)
	}
	if now := environ(printed("--kubeconfig", "other.yaml")); now != strings.Replace(before, "kube.yaml", "other.yaml", 1) {
		t.Errorf("with --kubeconfig it would pin %s, and had pinned %s", now, before)
	}
	if now := environ(printed("--environment")); !strings.Contains(now, `"KUBECONFIG=/none"`) || !strings.Contains(now, `"PATH=/elsewhere:`) {
		t.Errorf("with --environment it would pin %s", now)
	}
}
