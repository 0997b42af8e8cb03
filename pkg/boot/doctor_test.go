package boot_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/resource"
)

// well is what is found where all is as it should be.
func well() boot.Facts {
	pinned := boot.Pinned{Link: home().Exe, Path: home().Exe + "-0123456789abcdef", Digest: "0123456789abcdef"}
	return boot.Facts{
		Account: "op", Accepted: 2, Setup: home(), Lingers: true, Pinned: pinned, Digest: pinned.Digest, Files: boot.Units(home()),
		Units: []boot.State{
			{Name: boot.Target, Load: "loaded", Enabled: "enabled", Active: "active"},
			{Name: boot.ConvergeService("home"), Load: "loaded", Enabled: "enabled", Active: "inactive", Result: "success", KillMode: "process", Restart: "on-failure"},
			{Name: boot.ConvergeTimer("home"), Load: "loaded", Enabled: "enabled", Active: "active"},
		},
		Gateways: []boot.State{
			{Name: resource.UnitName("home", resource.ID{Namespace: "llm", Name: "qwen"}), Load: "loaded", Enabled: "enabled", Active: "active", KillMode: "mixed", Restart: "always"},
		},
	}
}

func TestExamineFindsNothing(t *testing.T) {
	t.Parallel()
	want := []boot.Check{
		{"accepted", boot.Good, "offers that boot restores: 2", ""},
		{"executable", boot.Good, "0123456789abcdef is pinned, and whole", ""},
		{"lingering", boot.Good, "on: systemd starts the units of op at boot", ""},
		{"files", boot.Good, "as they would be installed", ""},
		{"units", boot.Good, "enabled, and loaded as they lie there", ""},
		{"policy", boot.Good, "started again for ever, without a start limit; kill mode as it should be", ""},
		{"gateways", boot.Good, "1 start at boot by themselves", ""},
	}
	if diff := cmp.Diff(want, boot.Examine(well())); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

// TestExamine breaks one thing at a time: that is found, and nothing else.
func TestExamine(t *testing.T) {
	t.Parallel()
	const (
		install  = "obolctl boot install"
		upgrade  = "obolctl boot install --upgrade"
		service  = "obolctl-converge@home.service"
		gateway  = "obolctl-gateway@home:llm:qwen.service"
		timer    = "obolctl-converge@home.timer"
		timerBad = timer + " (inactive)"
	)
	for name, tc := range map[string]struct {
		harm func(f *boot.Facts)
		want boot.Check
	}{
		"nothing accepted": {func(f *boot.Facts) { f.Accepted = 0 },
			boot.Check{"accepted", boot.Bad, "nothing, so boot would restore nothing", "obolctl apply"}},
		"nothing pinned": {func(f *boot.Facts) { f.Pinned = boot.Pinned{} }, boot.Check{"executable", boot.Bad, "none is pinned", install}},
		"damaged":        {func(f *boot.Facts) { f.Damage = errors.New("it is damaged") }, boot.Check{"executable", boot.Bad, "it is damaged", upgrade}},
		"another runs": {func(f *boot.Facts) { f.Digest = "fedcba9876543210" },
			boot.Check{"executable", boot.Note, "0123456789abcdef is pinned, and whole; this one is another (fedcba9876543210)", upgrade}},
		"a file is gone":   {func(f *boot.Facts) { f.Files = f.Files[:3] }, boot.Check{"files", boot.Bad, "missing: " + timer, install}},
		"a file is edited": {func(f *boot.Facts) { f.Files[2].Text = []byte("x") }, boot.Check{"files", boot.Bad, "not as they would be installed: " + service, install}},
		"masked":           {func(f *boot.Facts) { f.Units[1].Load = "masked" }, boot.Check{"units", boot.Bad, "not loaded: " + service + " (masked)", install}},
		"disabled":         {func(f *boot.Facts) { f.Units[2].Enabled = "disabled" }, boot.Check{"units", boot.Bad, "not enabled: " + timer + " (disabled)", install}},
		"newer on disk":    {func(f *boot.Facts) { f.Units[1].Stale = true }, boot.Check{"units", boot.Bad, "changed since they were loaded: " + service, install}},
		"timer stopped":    {func(f *boot.Facts) { f.Units[2].Active = "inactive" }, boot.Check{"units", boot.Bad, "not active: " + timerBad, install}},
		"last run failed": {func(f *boot.Facts) { f.Units[1].Active, f.Units[1].Result = "failed", "exit-code" },
			boot.Check{"units", boot.Note, "its last run failed: " + service + " (exit-code)", "journalctl --user -u " + service}},
		"start limit": {func(f *boot.Facts) { f.Gateways[0].StartLimit = true },
			boot.Check{"policy", boot.Bad, gateway + " is given up after some starts (StartLimitIntervalSec)", "systemctl --user cat " + gateway}},
		"kill mode": {func(f *boot.Facts) { f.Units[1].KillMode = "control-group" },
			boot.Check{"policy", boot.Bad, service + " has KillMode=control-group, not process", "systemctl --user cat " + service}},
		"restart": {func(f *boot.Facts) { f.Gateways[0].Restart = "no" },
			boot.Check{"policy", boot.Bad, gateway + " has Restart=no, not always", "systemctl --user cat " + gateway}},
		"gateway disabled": {func(f *boot.Facts) { f.Gateways[0].Enabled = "disabled" },
			boot.Check{"gateways", boot.Note, "not enabled, so that only converge starts them: " + gateway + " (disabled)", ""}},
		"gateway masked": {func(f *boot.Facts) { f.Gateways[0].Load = "masked" },
			boot.Check{"gateways", boot.Bad, "masked, so that nothing starts them: " + gateway, "systemctl --user unmask " + gateway}},
		"gateway without a unit": {func(f *boot.Facts) { f.Gateways[0].Load = "not-found" },
			boot.Check{"gateways", boot.Bad, "not loaded: " + gateway + " (not-found)", install}},
		"detached": {func(f *boot.Facts) { f.Detached = []string{"http.a", "http.b"} },
			boot.Check{"gateways", boot.Bad, "not moved to systemd: http.a, http.b", install}},
		"a secret": {func(f *boot.Facts) {
			f.Secrets = []string{"KEY", "IN_MANAGER", "IN_FILE"}
			f.Managed = []string{"IN_MANAGER=1"}
			f.Environment.Names = []string{"IN_FILE"}
		},
			boot.Check{"environment", boot.Bad, "gateways that boot starts lack KEY: write it into /home/op/.config/obolctl/environment", ""}},
		"read by others": {func(f *boot.Facts) { f.Environment = boot.EnvironmentFacts{Path: "/e", Mode: 0o640} },
			boot.Check{"environment", boot.Note, "others may read /e", "chmod 600 /e"}},
		"another's": {func(f *boot.Facts) { f.Environment = boot.EnvironmentFacts{Path: "/e", Mode: 0o600, Others: true} },
			boot.Check{"environment", boot.Note, "/e belongs to another account", ""}},
		"a line": {func(f *boot.Facts) {
			f.Environment = boot.EnvironmentFacts{Path: "/e", Mode: 0o600, Ignored: []int{2, 3}}
		},
			boot.Check{"environment", boot.Note, "systemd ignores line 2 of /e: it is no NAME=VALUE", ""}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := well()
			tc.harm(&f)
			got := slices.DeleteFunc(boot.Examine(f), func(c boot.Check) bool { return c.Verdict == boot.Good })
			if diff := cmp.Diff([]boot.Check{tc.want}, got); diff != "" {
				t.Errorf("what is not well (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExamineWithoutLingering(t *testing.T) {
	t.Parallel()
	f := well()
	f.Lingers = false
	want := []boot.Check{
		{"lingering", boot.Bad, "off: systemd starts nothing of op at boot", "sudo loginctl enable-linger op"},
		{"gateways", boot.Note, "none starts at boot while lingering is off", ""},
	}
	got := slices.DeleteFunc(boot.Examine(f), func(c boot.Check) bool { return c.Verdict == boot.Good })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("what is not well (-want +got):\n%s", diff)
	}
}

// TestExamineUndoes names what has the drop-in that is in the way.
func TestExamineUndoes(t *testing.T) {
	t.Parallel()
	const gateway = "obolctl-gateway@home:llm:qwen.service"
	for file, want := range map[string]string{
		"/home/op/.config/systemd/user/" + gateway + ".d/x.conf":           "systemctl --user revert " + gateway,
		"/home/op/.config/systemd/user/obolctl-gateway@.service.d/x.conf":  "systemctl --user revert obolctl-gateway@.service",
		"/home/op/.config/systemd/user/service.d/x.conf":                   "systemctl --user cat " + gateway,
		"/etc/systemd/user/obolctl-gateway@home:llm:qwen.service.d/x.conf": "systemctl --user cat " + gateway,
	} {
		f := well()
		f.Gateways[0].Restart, f.Gateways[0].DropIns = "no", []string{file}
		if got := boot.Examine(f)[5]; got.Subject != "policy" || got.Next != want {
			t.Errorf("with %s: %+v, want %q", file, got, want)
		}
	}
}

func TestExamineWithoutManager(t *testing.T) {
	t.Parallel()
	f := well()
	f.Away, f.Units, f.Gateways, f.Lingers = "it does not answer", nil, nil, false
	want := []boot.Check{
		{"units", boot.Bad, "cannot be asked about: it does not answer", ""},
		{"policy", boot.Unknown, "nobody can tell while the account's manager does not answer", ""},
		{"gateways", boot.Unknown, "nobody can tell while the account's manager does not answer", ""},
	}
	if diff := cmp.Diff(want, boot.Examine(f)[4:7]); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
}

func TestExamineNamesDropIns(t *testing.T) {
	t.Parallel()
	f := well()
	f.Units[1].DropIns = []string{"/home/op/.config/systemd/user/obolctl-converge@home.service.d/nice.conf"}
	f.Gateways[0].DropIns = []string{"/etc/systemd/user/obolctl-gateway@.service.d/a.conf", "/etc/systemd/user/service.d/all.conf"}
	want := boot.Check{"drop-ins", boot.Note, "obolctl-converge@home.service.d/nice.conf, obolctl-gateway@.service.d/a.conf, service.d/all.conf", ""}
	if diff := cmp.Diff(want, boot.Examine(f)[7]); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
}

// TestExamineNothing has no facts at all, and takes nothing for granted.
func TestExamineNothing(t *testing.T) {
	t.Parallel()
	want := []boot.Check{{"units", boot.Bad, "not installed: nothing comes back at boot", "obolctl boot install"}}
	if diff := cmp.Diff(want, boot.Examine(boot.Facts{})); diff != "" {
		t.Errorf("checks (-want +got):\n%s", diff)
	}
	for _, c := range boot.Examine(boot.Facts{Setup: home()}) {
		if c.Verdict == boot.Good {
			t.Errorf("%s is %+v, of which nothing is known", c.Subject, c)
		}
	}
}
