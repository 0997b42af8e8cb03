package main

import (
	"encoding/json"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/boot"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

func TestJudgeNodes(t *testing.T) {
	t.Parallel()
	a := []node{{"k3d-a-server-0", "a", "no"}, {"k3d-a-serverlb", "a", "always"}, {"k3d-a-agent-0", "a", "on-failure"}}
	b := []node{{"k3d-b-server-0", "b", "unless-stopped"}, {"k3d-b-serverlb", "b", "always"}}
	for name, tc := range map[string]struct {
		nodes   []node
		cluster string
		want    boot.Check
	}{
		"none":       {nil, "", boot.Check{Subject: "docker", Verdict: boot.Good, Text: "no k3d nodes"}},
		"not there":  {b, "a", boot.Check{Subject: "docker", Text: "it has no nodes of a"}},
		"come back":  {b, "b", boot.Check{Subject: "docker", Verdict: boot.Good, Text: "2 k3d nodes started again at boot"}},
		"others' do": {slices.Concat(a, b), "b", boot.Check{Subject: "docker", Verdict: boot.Good, Text: "2 k3d nodes started again at boot"}},
		"stay away": {slices.Concat(a, b), "a", boot.Check{Subject: "docker", Verdict: boot.Bad, Text: "not started at boot: k3d-a-server-0, k3d-a-agent-0",
			Next: "docker update --restart unless-stopped k3d-a-server-0 k3d-a-agent-0"}},
		"which one?": {slices.Concat(a, b), "", boot.Check{Subject: "docker", Verdict: boot.Note,
			Text: "not started at boot: k3d-a-server-0, k3d-a-agent-0; the kubeconfig does not tell whether offers are there"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tc.want, judgeNodes(tc.nodes, tc.cluster)); diff != "" {
				t.Errorf("check (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCheckDocker asks a Docker of our own, as the real one answers.
func TestCheckDocker(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /containers/json", func(w http.ResponseWriter, r *http.Request) {
		if q := r.URL.Query(); q.Get("all") != "1" || q.Get("filters") != `{"label":["app=k3d"]}` {
			t.Errorf("asked with %v", q)
		}
		_, _ = w.Write([]byte(`[{"Id":"bb","Names":["/k3d-a-serverlb"],"Labels":{"app":"k3d","k3d.cluster":"a","k3d.role":"loadbalancer"}},
			{"Id":"aa","Names":["/k3d-a-server-0"],"Labels":{"app":"k3d","k3d.cluster":"a","k3d.role":"server"}},
			{"Id":"cc","Names":["/k3d-a-tools"],"Labels":{"app":"k3d","k3d.cluster":"a","k3d.role":"noRole"}}]`))
	})
	mux.HandleFunc("GET /containers/aa/json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Id":"aa","Name":"/k3d-a-server-0","HostConfig":{"RestartPolicy":{"Name":"unless-stopped","MaximumRetryCount":0}}}`))
	})
	mux.HandleFunc("GET /containers/bb/json", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(`{"Id":"bb","Name":"/k3d-a-serverlb","HostConfig":{"RestartPolicy":{"Name":"","MaximumRetryCount":0}}}`))
	})
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: mux}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	want := boot.Check{Subject: "docker", Verdict: boot.Bad, Text: "not started at boot: k3d-a-serverlb", Next: "docker update --restart unless-stopped k3d-a-serverlb"}
	if diff := cmp.Diff(want, checkDocker(t.Context(), socket, "a")); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
	for cluster, want := range map[string]boot.Verdict{"": boot.Good, "a": boot.Unknown} {
		if got := checkDocker(t.Context(), filepath.Join(t.TempDir(), "none.sock"), cluster); got.Verdict != want {
			t.Errorf("without a socket, in cluster %q: %+v", cluster, got)
		}
	}
}

func TestCheckDisk(t *testing.T) {
	t.Parallel()
	for folder, want := range map[string]boot.Verdict{filepath.Join(t.TempDir(), "not", "yet"): boot.Good, "/proc": boot.Bad} {
		if got := checkDisk(folder); got.Verdict != want {
			t.Errorf("%s: %+v, want %q", folder, got, want)
		}
	}
}

// TestCheckDockerThatIsDown finds the socket of a Docker that has ended.
func TestCheckDockerThatIsDown(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "docker.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	_ = l.Close() // which leaves the socket
	want := boot.Check{Subject: "docker", Text: "cannot ask it: connect: connection refused"}
	if diff := cmp.Diff(want, checkDocker(t.Context(), socket, "a")); diff != "" {
		t.Errorf("check (-want +got):\n%s", diff)
	}
}

// comingBack is a report of offers that came back after a reboot in different ways.
func comingBack(booted time.Time) plan.Report {
	address := func(text string) offer.Address {
		a, err := offer.ParseAddress(text)
		if err != nil {
			panic(err)
		}
		return a
	}
	upstream := &offer.Offer{Upstream: offer.Upstream{URL: "http://127.0.0.1:1"}}
	gateway := func(at time.Time) *resource.Running {
		return &resource.Running{Answering: true, Identity: resource.Identity{Started: at}, PathSeen: at.Add(time.Minute)}
	}
	status := func(name string, o *offer.Offer, g *resource.Running, ready time.Time) plan.OfferStatus {
		s := plan.OfferStatus{Key: offer.Key{Type: offer.HTTP, Namespace: "shop", Name: name}, Address: address("http." + name), Offer: o, Accepted: true, Gateway: g}
		if !ready.IsZero() {
			s.Conditions = []plan.Condition{{Type: "Ready", Status: "True", Since: ready}}
		}
		return s
	}
	return plan.Report{Site: "home", LastBoot: booted, Offers: []plan.OfferStatus{
		status("kept", upstream, gateway(booted.Add(time.Second)), booted.Add(-time.Hour)),
		status("lost", upstream, gateway(booted.Add(2*time.Second)), booted.Add(40*time.Second)),
		status("down", upstream, nil, time.Time{}),
		status("alone", &offer.Offer{Upstream: upstream.Upstream, Standalone: true}, gateway(booted.Add(5*time.Second)), time.Time{}),
	}}
}

// apiEvents is a history in which the API server was waited for twice.
func apiEvents(booted time.Time) []state.Event {
	return []state.Event{
		{At: booted.Add(20 * time.Second), Kind: state.EventAnswered},
		{At: booted.Add(39 * time.Second), Kind: state.EventAnswered},
		{At: booted.Add(40 * time.Second), Kind: state.EventRestored},
	}
}

func TestComebacks(t *testing.T) {
	t.Parallel()
	booted := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	units := []boot.State{ // systemd knows better when a gateway answered than its record
		{Name: "obolctl-gateway@home:shop:lost.service", Active: "active", Since: booted.Add(3 * time.Second)},
		{Name: "obolctl-gateway@home:shop:kept.service", Active: "inactive", Since: booted.Add(9 * time.Second)},
	}
	want := []offerBack{
		{"http.kept", true, true, false, booted.Add(time.Second), booted.Add(-time.Hour)},
		{"http.lost", true, true, false, booted.Add(3 * time.Second), booted.Add(40 * time.Second)},
		{"http.down", true, true, false, time.Time{}, time.Time{}},
		{"http.alone", true, false, false, booted.Add(5 * time.Second), time.Time{}},
	}
	if diff := cmp.Diff(want, comebacks(comingBack(booted), units), cmp.AllowUnexported(offerBack{})); diff != "" {
		t.Errorf("comebacks (-want +got):\n%s", diff)
	}
}

// TestBootText is what somebody on a small terminal sees.
func TestBootText(t *testing.T) {
	t.Parallel()
	booted := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	rep := comingBack(booted)
	rep.LastConverge = plan.Run{At: booted.Add(41 * time.Second), Exit: 2}
	rep.Cluster = resource.ClusterSighting{Contacted: true, Reachable: true}
	now := booted.Add(time.Hour)
	path, asked := checkPath(rep, now)
	if !asked {
		t.Error("the path is not asked about")
	}
	checks := append(boot.Examine(boot.Facts{}), path, boot.Check{Subject: "drop-ins", Verdict: boot.Note,
		Text: "obolctl-gateway@home:a-namespace:a-name.service.d/limits.conf, obolctl-converge@home.service.d/nice.conf"})
	want := `FAULT units       not installed: nothing comes back at boot
                  obolctl boot install
ok    path        the cluster last reached each gateway that answers at 12:01:01
                  or later
note  drop-ins    obolctl-gateway@home:a-namespace:a-name.service.d/limits.conf,
                  obolctl-converge@home.service.d/nice.conf

Booted at 12:00:00. Converge last ended at 12:00:41, with exit code 2.
The API server answers; converge had waited for it until 12:00:39.

OFFER                                    GATEWAY ANSWERS      READY
http.kept                                12:00:01             since before boot
http.lost                                12:00:02             12:00:40
http.down                                no                   no
http.alone                               12:00:05             -

`
	back := comeback{api: apiAnswered(apiEvents(booted)), offers: comebacks(rep, nil)}
	got := bootText(rep, checks, back, now)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	for line := range strings.Lines(got) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if _, err := json.Marshal(bootJSON(rep, checks, back)); err != nil {
		t.Error(err)
	}
}

// TestBootTextOfThisBoot tells no run of the boot before as this one's.
func TestBootTextOfThisBoot(t *testing.T) {
	t.Parallel()
	booted := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	unit := boot.State{Load: "loaded", Active: "activating"}
	for name, tc := range map[string]struct {
		ended     time.Time
		unit      boot.State
		reachable bool
		want      string
	}{
		"ended":       {booted.Add(time.Minute), unit, true, " Converge last ended at 12:01:00, with exit code 0.\n  it failed\n    do\nThe API server answers; converge did not have to wait for it.\n"},
		"runs":        {booted.Add(-time.Minute), unit, true, " Converge has not ended since: it runs now.\nThe API server answers.\n"},
		"waits":       {booted.Add(-time.Minute), unit, false, " Converge has not ended since: it waits for the API server.\nThe API server does not answer: refused\n"},
		"never ran":   {time.Time{}, boot.State{Load: "loaded", Active: "inactive"}, true, " Converge has not ended since: it is inactive now.\nThe API server answers.\n"},
		"nobody asks": {booted.Add(-time.Minute), boot.State{}, true, " Converge has not ended since.\nThe API server answers.\n"},
		"no unit":     {time.Time{}, boot.State{}, true, "\nThe API server answers.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep := plan.Report{LastBoot: booted, LastConverge: plan.Run{At: tc.ended}, Cluster: resource.ClusterSighting{Contacted: true, Reachable: tc.reachable, Why: "refused"}}
			got := bootText(rep, nil, comeback{converge: tc.unit, left: []leftover{{text: "it failed", next: "do"}}}, booted.Add(time.Hour))
			if diff := cmp.Diff("\nBooted at 12:00:00."+tc.want+"\n", got); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBootTextOfDrained says why an offer is not Ready that somebody drained.
func TestBootTextOfDrained(t *testing.T) {
	t.Parallel()
	rep := comingBack(time.Now())
	rep.Offers[2].Drain = &offer.Drain{}
	if got := bootText(rep, nil, comeback{offers: comebacks(rep, nil)}, time.Now()); !strings.Contains(got, "no                   no: drained\n") {
		t.Errorf("a drained offer is told as any other:\n%s", got)
	}
}

// TestInstalledText says what is to be done yet, at this site.
func TestInstalledText(t *testing.T) {
	t.Parallel()
	w := workspace{options: options{here: "other"}}
	w.memory.Accepted = &plan.Accepted{}
	if got := w.openEnds(3*time.Minute, 0); got != "" {
		t.Errorf("where all is well: %q", got)
	}
	got := w.openEnds(3*time.Minute, 2)
	if !strings.Contains(got, "No gateway answers now for 2 offers.") || !strings.Contains(got, "obolctl converge --site other\n") {
		t.Errorf("where gateways are down: %q", got)
	}
	rows := clipped([]string{"KUBECONFIG=/k", "PATH=" + strings.Repeat("/ä", 60)})
	for line := range strings.Lines(got + uninstalledText("default", nil) + indented(rows)) {
		if n := utf8.RuneCountInString(strings.TrimRight(line, "\n")); n > 80 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	if rows[0] != "KUBECONFIG=/k" {
		t.Errorf("a short line is cut to %q", rows[0])
	}
}

// TestLeftovers has a command for each thing that the last run left, which is said
// once.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	rep := comingBack(time.Now())
	const journal = "journalctl --user -u obolctl-converge@home.service"
	rep.Decisions = []plan.Change{
		{Address: rep.Offers[0].Address, Next: "obolctl apply"},
		{Address: rep.Offers[1].Address}, // nothing settles it
	}
	rep.LastConverge.Facts = []string{
		"http.down: update of its EndpointSlice is blocked, since nobody can tell what is there (unknown)",
		"http.kept: update is withheld (live_changed)", "http.lost: create is withheld (held)", "http.alone: start Gateway/shop/alone failed", "the API server did not answer",
	}
	want := []leftover{
		{rep.LastConverge.Facts[0], "obolctl status 'http.down' --site home", false},
		{rep.LastConverge.Facts[1], "obolctl apply --site home", true},
		{rep.LastConverge.Facts[2], "obolctl status 'http.lost' --site home", false},
		{rep.LastConverge.Facts[3], "obolctl status 'http.alone' --site home", false},
		{rep.LastConverge.Facts[4], journal, false},
	}
	got := leftovers(rep, "home")
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(leftover{})); diff != "" {
		t.Errorf("leftovers (-want +got):\n%s", diff)
	}
	text := `  http.down: update of its EndpointSlice is blocked, since nobody can tell what
  is there (unknown)
    obolctl status 'http.down' --site home
  http.lost: create is withheld (held)
    obolctl status 'http.lost' --site home
  http.alone: start Gateway/shop/alone failed
    obolctl status 'http.alone' --site home
`
	last := "  the API server did not answer\n    " + journal + "\n"
	if diff := cmp.Diff(text+last, leftText(got, "")); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(text+"  and 2 more: show\n", leftText(append(got, got[4]), "show")); diff != "" {
		t.Errorf("text of more (-want +got):\n%s", diff)
	}

	blind := rep // what waits for an answer does not hide what waits for a person
	blind.Cluster.Contacted = true
	blind.Decisions = []plan.Change{{
		Address: rep.Offers[0].Address, Action: plan.Block, Cause: plan.Unknown, Next: "obolctl status",
		Steps: []plan.Step{{ID: resource.ID{Kind: resource.ServiceOffer}}},
	}}
	blind.LastConverge.Facts = rep.LastConverge.Facts[1:2]
	unsaid := []leftover{{rep.LastConverge.Facts[1], "obolctl status 'http.kept' --site home", false}}
	if diff := cmp.Diff(unsaid, leftovers(blind, "home"), cmp.AllowUnexported(leftover{})); diff != "" {
		t.Errorf("leftovers where the API server does not answer (-want +got):\n%s", diff)
	}
}

func TestCheckPath(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 26, 13, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		change  func(kept, lost *resource.Running)
		verdict boot.Verdict
		text    string
	}{
		"one was never reached": {func(kept, _ *resource.Running) { kept.PathSeen = time.Time{} }, boot.Unknown, "the cluster has not been seen to reach the gateways of http.kept"},
		"none answers":          {func(kept, lost *resource.Running) { kept.Answering, lost.Answering = false, false }, boot.Unknown, "no gateway answers that the cluster could have reached"},
		"one long ago": {func(_, lost *resource.Running) { lost.PathSeen = now.AddDate(0, 0, -1) }, boot.Good,
			"the cluster last reached each gateway that answers at 2026-11-25 13:00:00 or later"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rep := comingBack(now.Add(-time.Hour))
			tc.change(rep.Offers[0].Gateway, rep.Offers[1].Gateway)
			if got, asked := checkPath(rep, now); !asked || got.Verdict != tc.verdict || got.Text != tc.text {
				t.Errorf("%t, %+v", asked, got)
			}
		})
	}
	if _, asked := checkPath(plan.Report{}, now); asked {
		t.Error("without offers there is a path")
	}
}

// TestTryPinned plays pinned executables. While another test starts a process, that
// has them open for writing, and they cannot be run: so it is alone.
func TestTryPinned(t *testing.T) {
	for name, tc := range map[string]struct {
		script string
		want   string // in the error; empty: there is none
	}{
		"reads the state":       {"#!/bin/sh\ntest \"$*\" = \"boot print --site home --state-dir /state\"\n", ""},
		"older than the state":  {"#!/bin/sh\necho 'Error: written by a newer obolctl' >&2\nexit 1\n", "cannot work with the state: Error: written by a newer obolctl"},
		"of another system":     {"\x7fELF", "cannot be run: "},
		"its interpreter is no": {"#!/none\n", "cannot be run: "},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			exe := filepath.Join(dir, "exe")
			if err := os.WriteFile(exe, []byte(tc.script), 0o600); err != nil {
				t.Fatal(err)
			}
			pinned, err := boot.Pin(filepath.Join(dir, "bin"), exe)
			if err != nil {
				t.Fatal(err)
			}
			w := workspace{}
			if w.site, err = state.Open(filepath.Join(dir, "state"), "home"); err != nil {
				t.Fatal(err)
			}
			w.stateDir = "/state"
			if err := w.tryPinned(t.Context(), pinned); (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("tryPinned = %v, want %q", err, tc.want)
			}
			if err := os.WriteFile(pinned.Path, nil, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := w.tryPinned(t.Context(), pinned); err == nil || !strings.Contains(err.Error(), "is damaged") {
				t.Errorf("tryPinned of a damaged copy = %v", err)
			}
		})
	}
}

// TestRehearsalSaysWhy has for each fault, and each gateway that did not come back,
// why and what to type.
func TestRehearsalSaysWhy(t *testing.T) {
	t.Parallel()
	w := workspace{options: options{here: "other"}}
	var err error
	if w.site, err = state.Open(t.TempDir(), "other"); err != nil {
		t.Fatal(err)
	}
	facts := boot.Facts{Account: "op", Accepted: 1, Setup: boot.Setup{Site: "other"}, Units: []boot.State{{Name: boot.Target, Load: "loaded", Enabled: "enabled", Active: "active"}}, Files: boot.Units(boot.Setup{Site: "other"})}
	want := `FAULT executable  none is pinned
                  obolctl boot install --site other
FAULT lingering   off: systemd starts nothing of op at boot
                  sudo loginctl enable-linger op
`
	if diff := cmp.Diff(want, faultsIn(w.hostChecks(facts))); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	want = `not answering after 4.00 s: http.a
  http.a: its unit is activating, with result exit-code and exit code 203
    journalctl --user -n 20 -u obolctl-gateway@other:shop:a.service
`
	gone := []missing{{"http.a", "obolctl-gateway@other:shop:a.service", "its unit is activating, with result exit-code and exit code 203"}}
	if diff := cmp.Diff(want, notAnswering(4*time.Second, gone)); diff != "" {
		t.Errorf("what is missing (-want +got):\n%s", diff)
	}
}

func TestSecretsOf(t *testing.T) {
	t.Parallel()
	headers := func(secrets ...offer.Secret) resource.Spec {
		g := resource.Gateway{Headers: map[string]offer.Secret{}}
		for i, s := range secrets {
			g.Headers[string(rune('A'+i))] = s
		}
		return resource.Spec{Gateway: &g}
	}
	rep := plan.Report{Accepted: &plan.Accepted{Set: plan.Set{Specs: []resource.Spec{
		{}, headers(offer.Secret{Env: "B"}, offer.Secret{File: "~/key"}), headers(offer.Secret{Env: "A"}, offer.Secret{Env: "B"}),
	}}}}
	if diff := cmp.Diff([]string{"A", "B"}, secretsOf(rep)); diff != "" {
		t.Errorf("secretsOf (-want +got):\n%s", diff)
	}
}

func TestBootTextOfManyOffers(t *testing.T) {
	t.Parallel()
	rep := plan.Report{LastBoot: time.Now()}
	rep.LastConverge.At = rep.LastBoot.Add(time.Second)
	for len(rep.Offers) < 40 {
		rep.Offers = append(rep.Offers, comingBack(rep.LastBoot).Offers...)
	}
	checks := boot.Examine(boot.Facts{Accepted: 40, Setup: boot.Setup{Site: "home"}})
	for left, more := range map[int]string{0: "and 32 more", 1: "and 34 more", 9: "and 37 more"} {
		back := comeback{offers: comebacks(rep, nil), more: "show", left: slices.Repeat([]leftover{{text: "it failed", next: "do"}}, left)}
		text := bootText(rep, checks, back, time.Now())
		if n := strings.Count(text, "\n"); n > 28 || !strings.Contains(text, more+": show\n") {
			t.Errorf("%d left, %d lines:\n%s", left, n, text)
		}
	}
}

func TestUnitName(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{"": "", "tell-me": "tell-me.service", "tell@a\\x2db.target": "tell@a\\x2db.target", "a b": "error", "../x.service": "error"} {
		got, err := unitName(said)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("unitName(%q) = %q (%v), want %q", said, got, err, want)
		}
	}
}
