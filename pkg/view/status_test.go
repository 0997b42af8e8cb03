package view_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// TestStanding words each way in which an offer may stand.
func TestStanding(t *testing.T) {
	t.Parallel()
	drain := func(at time.Time) *offer.Drain { return &offer.Drain{At: at, Grace: time.Hour} }
	tests := map[string]struct {
		set  func(*plan.OfferStatus)
		want string
		bad  bool // it should sell and does not, or the other way round
	}{
		"selling":           {func(*plan.OfferStatus) {}, "● selling", false},
		"ready or not":      {func(o *plan.OfferStatus) { o.Ready = no() }, "● selling", false},
		"wrong wallet":      {func(o *plan.OfferStatus) { o.Stranded = "its key is gone" }, "! selling, wrong wallet", true},
		"nothing behind":    {func(o *plan.OfferStatus) { o.Upstream = &plan.UpstreamStatus{Ready: resource.Absent} }, "! upstream down", true},
		"behind, who knows": {func(o *plan.OfferStatus) { o.Upstream = &plan.UpstreamStatus{} }, "● selling", false},
		"drained, nothing behind": {func(o *plan.OfferStatus) {
			o.Upstream, o.Drain = &plan.UpstreamStatus{Ready: resource.Absent}, drain(ago(time.Minute))
		}, "| draining until 04:11", false},
		"gateway dead":   {func(o *plan.OfferStatus) { o.Gateway = &resource.Running{State: resource.GatewayFailed} }, "! gateway down", true},
		"gateway starts": {func(o *plan.OfferStatus) { o.Gateway = &resource.Running{State: resource.GatewayStarting} }, "! gateway down", true},
		"gateway dead, standalone": {func(o *plan.OfferStatus) {
			o.Offer.Standalone, o.Live, o.Sellable, o.Gateway = true, resource.Absent, no(), &resource.Running{State: resource.GatewayStopped}
		}, "! gateway down", true},
		"gateway dead, cluster unseen": {func(o *plan.OfferStatus) {
			o.Live, o.Sellable, o.Gateway = resource.Unknown, nil, &resource.Running{State: resource.GatewayFailed}
		}, "! gateway down", true},
		"model dead": {func(o *plan.OfferStatus) {
			o.Gateway = &resource.Running{State: resource.GatewayRunning, Answering: true}
		}, "! upstream down", true},
		"not selling":        {func(o *plan.OfferStatus) { o.Sellable = no() }, "○ not selling", true},
		"not seen":           {func(o *plan.OfferStatus) { o.Live, o.Sellable = resource.Unknown, nil }, "? unknown", true},
		"nobody says":        {func(o *plan.OfferStatus) { o.Sellable = nil }, "= in place", false},
		"gone":               {func(o *plan.OfferStatus) { o.Live, o.Ready, o.Sellable = resource.Absent, nil, nil }, "○ not selling", true},
		"live":               {func(o *plan.OfferStatus) { o.Accepted = false }, "+ not accepted", false},
		"not applied":        {func(o *plan.OfferStatus) { o.Accepted, o.Live, o.Sellable = false, resource.Absent, nil }, "+ not applied", false},
		"draining":           {func(o *plan.OfferStatus) { o.Drain = drain(ago(time.Minute)) }, "| draining until 04:11", false},
		"drained":            {func(o *plan.OfferStatus) { o.Drain, o.Sellable = drain(ago(2*time.Hour)), no() }, "| drained", false},
		"drained, unseen":    {func(o *plan.OfferStatus) { o.Drain, o.Sellable = drain(ago(2*time.Hour)), nil }, "| drained", false},
		"drained, but sells": {func(o *plan.OfferStatus) { o.Drain, o.Loose = drain(ago(2*time.Hour)), true }, "! drained, but sells", true},
		"drain not in force": {func(o *plan.OfferStatus) { o.Drain, o.Loose = drain(ago(time.Minute)), true }, "! drain not in force", true},
		"drained, maybe":     {func(o *plan.OfferStatus) { o.Drain, o.Loose, o.Sellable = drain(ago(2*time.Hour)), true, nil }, "! drain not in force", true},
		"drained, not there": {func(o *plan.OfferStatus) { o.Drain, o.Live = drain(ago(time.Minute)), resource.Absent }, "| drained", false},
		"deleted":            {func(o *plan.OfferStatus) { o.Tombstone, o.Live = &offer.Tombstone{}, resource.Absent }, "x deleted", false},
		"deleted, unseen":    {func(o *plan.OfferStatus) { o.Tombstone, o.Live = &offer.Tombstone{}, resource.Unknown }, "x deleted", false},
		"tombstone broken":   {func(o *plan.OfferStatus) { o.Tombstone = &offer.Tombstone{} }, "! deleted, but there", true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := sells(inference("qwen", 31))
			tc.set(&o)
			r := plan.Report{Site: "home", Cluster: reachable, Accepted: &plan.Accepted{}, Offers: []plan.OfferStatus{o}}
			if out := statusText(t, r, view.Style{Now: now}); !strings.Contains(out, "inference.qwen  "+tc.want+"  ") {
				t.Errorf("want %q in:\n%s", tc.want, out)
			}
			if quiet := statusText(t, r, view.Style{Now: now, Quiet: true}); (quiet != "") != tc.bad {
				t.Errorf("quiet says %q, want something: %v", quiet, tc.bad)
			}
		})
	}
}

// TestWhatEndsADrain: the command does, unless the file declares it.
func TestWhatEndsADrain(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		declared *offer.DrainDecl
		want     string
	}{
		"typed": {nil, "by ana 1 minute ago (by command)\n  next: obolctl undrain inference.qwen\n"},
		"declared": {&offer.DrainDecl{At: offer.Source{File: "offers.hcl", Line: 81}},
			"\n  to sell again, take it out of the file (offers.hcl:81), and apply\n  next: obolctl apply --target inference.qwen\n"},
	} {
		o := sells(inference("qwen", 31))
		o.Drain = &offer.Drain{Origin: offer.FromCommand, By: "ana", At: ago(time.Minute), Grace: time.Hour}
		o.Offer.Drain = tc.declared
		out := string(screen(t, func(b *bytes.Buffer) error {
			return view.StatusOne(b, plan.Report{Offers: []plan.OfferStatus{o}}, o.Address, nil, view.Style{Now: now})
		}))
		if !strings.Contains(out, tc.want) || strings.Count(out, "undrain") != strings.Count(tc.want, "undrain") {
			t.Errorf("%s: want %q in:\n%s", name, tc.want, out)
		}
	}
}

// TestRule05_ChainBreaksAtTheWallet: whatever else is well, money that nobody can
// spend is no sale.
func TestRule05_ChainBreaksAtTheWallet(t *testing.T) {
	t.Parallel()
	o := sells(inference("qwen", 31))
	o.Stranded = "agent quant has no keystore"
	out := string(screen(t, func(b *bytes.Buffer) error {
		return view.StatusOne(b, plan.Report{Offers: []plan.OfferStatus{o}}, o.Address, nil, view.Style{Now: now})
	}))
	const want = "wallet     ✗ broken    agent quant has no keystore\n             next: obolctl drain inference.qwen\n"
	if !strings.Contains(out, want) || strings.Contains(out, "gateway") {
		t.Errorf("want %q, and nothing after it, in:\n%s", want, out)
	}
}

// TestBlockedSaysByWhat: what was seen and cannot be done was not unseen.
func TestBlockedSaysByWhat(t *testing.T) {
	t.Parallel()
	unseen := blockedOn(inference("qwen", 31), "could not be seen: timed out")
	refused := blockedOn(weather("eu"), "the API server would refuse it: there is no field spec.provenance")
	refused.Cause, refused.Steps[0].Cause = plan.FileChanged, plan.FileChanged
	for want, p := range map[string]plan.Plan{
		"! Blocked: could not see\n":                             planned(0, unseen),
		"! Blocked: cannot be done as it is\n":                   planned(0, refused),
		"! Blocked: could not see, or cannot be done as it is\n": planned(0, unseen, refused),
	} {
		if out := planText(t, p, view.Style{}); !strings.Contains(out, want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
	}
}

// TestGatewayColumn words each state of a gateway in few columns.
func TestGatewayColumn(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		gateway *resource.Running
		want    string
	}{
		"not seen":      {nil, "unknown"},
		"runs":          {runs(7), "pid 7, 3 h"},
		"starting":      {&resource.Running{State: resource.GatewayStarting}, "starting"},
		"stopped":       {&resource.Running{State: resource.GatewayStopped}, "stopped"},
		"killed":        {&resource.Running{State: resource.GatewayStopped, Last: &resource.Exit{Signal: "SIGKILL"}}, "stopped, SIGKILL"},
		"no memory":     {&resource.Running{State: resource.GatewayFailed, Last: &resource.Exit{OOM: true, Signal: "SIGKILL"}}, "failed, OOM"},
		"exited":        {&resource.Running{State: resource.GatewayFailed, Last: &resource.Exit{Code: 78}}, "failed, exit 78"},
		"crash loop":    {&resource.Running{State: resource.GatewayCrashLooping, Restarts: 5}, "crash loop (5)"},
		"silent":        {&resource.Running{State: resource.GatewayRunning}, "no answer"},
		"no model":      {&resource.Running{State: resource.GatewayRunning, Answering: true}, "upstream down"},
		"only a record": {&resource.Running{Last: &resource.Exit{Code: 2}}, "stopped, exit 2"},
		"no state":      {&resource.Running{}, "unknown"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := sells(inference("qwen", 31))
			o.Gateway = tc.gateway
			out := statusText(t, plan.Report{Offers: []plan.OfferStatus{o}}, view.Style{Now: now})
			if !strings.Contains(out, "  yes    "+tc.want+"  ") {
				t.Errorf("want %q in:\n%s", tc.want, out)
			}
		})
	}
}

func statusText(t *testing.T, r plan.Report, s view.Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := view.Status(&b, r, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestConvergeExits words each exit status of converge.
func TestConvergeExits(t *testing.T) {
	t.Parallel()
	for exit, want := range map[int]string{0: "nothing left to restore", 1: "could not be restored", 2: "decisions waited", 5: "lock", 75: "never answered", 9: "exit 9"} {
		out := statusText(t, plan.Report{LastConverge: plan.Run{At: now, Exit: exit}}, view.Style{Now: now})
		if !strings.Contains(out, want) {
			t.Errorf("exit %d: want %q in:\n%s", exit, want, out)
		}
	}
	run := plan.Run{At: now, Exit: 2, Facts: []string{"nothing is accepted here"}}
	for _, want := range []string{"nothing is accepted here (exit 2)", "nothing is accepted here, and 1 more (exit 2)"} {
		if out := statusText(t, plan.Report{LastConverge: run}, view.Style{Now: now}); !strings.Contains(out, want) {
			t.Errorf("want %q in:\n%s", want, out)
		}
		run.Facts = append(run.Facts, "http.weather: does not sell")
	}
}

// TestRealMoney flags every network that is not known to be a testnet.
func TestRealMoney(t *testing.T) {
	t.Parallel()
	for network, real := range map[string]bool{"base": true, "ethereum": true, "base-sepolia": false, "not-known": true} {
		c := created(inference("qwen", 31))
		c.Offer.Payments[0].Network = network
		for _, class := range classes {
			c.Class = class
			out := planText(t, planned(0, c), view.Style{})
			if got := strings.Contains(out, "real money"); got != real || strings.Contains(out, "testnet") == real {
				t.Errorf("%s, class %s: real money = %v, want %v:\n%s", network, class, got, real, out)
			}
		}
	}
}

// TestFileChangesAreNotDrift keeps who wrote a value apart from who changed the
// offer.
func TestFileChangesAreNotDrift(t *testing.T) {
	t.Parallel()
	o := inference("qwen", 31)
	file := planText(t, planned(0, updated(o, plan.Config, plan.FileChanged, "", live(priceField("1", "2")))), view.Style{Now: now})
	if !strings.Contains(file, "    file: changed since it was accepted\n") || strings.Contains(file, "drift") {
		t.Errorf("a change of the file reads:\n%s", file)
	}
	drift := planText(t, planned(0, updated(o, plan.Config, plan.LiveChanged, "", live(priceField("1", "2")))), view.Style{Now: now})
	if !strings.Contains(drift, "    drift: changed live by kubectl-edit 12 minutes ago\n") || strings.Contains(drift, "file:") {
		t.Errorf("drift reads:\n%s", drift)
	}
}

// TestCommandsCanBeTyped quotes an address whose key a shell would take apart.
func TestCommandsCanBeTyped(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"eu": "http.weather.eu", "e.u": `'http.weather["e.u"]'`, "e u": `'http.weather["e u"]'`, "it's": `'http.weather["it'\''s"]'`, "": `'http.weather[""]'`,
	} {
		o := sells(weather("eu"))
		o.Address.Key, o.Drain = key, &offer.Drain{By: "ana", At: now}
		var b bytes.Buffer
		if err := view.StatusOne(&b, plan.Report{Offers: []plan.OfferStatus{o}}, o.Address, nil, view.Style{Now: now}); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), "next: obolctl undrain "+want+"\n") {
			t.Errorf("want %q in:\n%s", want, b.String())
		}
	}
}

// TestJSONCanBeRead leaves URLs and commands as they are typed.
func TestJSONCanBeRead(t *testing.T) {
	t.Parallel()
	const cmd = `curl -i 'http://127.0.0.1/?a=1&b=<c>'`
	c := created(inference("qwen", 31))
	c.Next = cmd
	if doc := planDoc(t, planned(0, c)); !bytes.Contains(doc, []byte(cmd)) {
		t.Errorf("%q is not readable in:\n%s", cmd, doc)
	}
	var b bytes.Buffer
	view.NewJSONPrinter(&b).Event(view.Event{Kind: view.Withheld, Next: cmd})
	if !strings.Contains(b.String(), cmd) {
		t.Errorf("%q is not readable in %s", cmd, b.String())
	}
}

// TestOneLineForOneCluster: what waits for a cluster that does not answer is told
// once, and not for each offer.
func TestOneLineForOneCluster(t *testing.T) {
	t.Parallel()
	r := reports()["blind"]
	r.Decisions = []plan.Change{blockedOn(inference("qwen", 31), "could not be seen: connection refused")}
	out := statusText(t, r, view.Style{Now: now})
	if strings.Contains(out, "Blocked") || strings.Count(out, "connection refused") != 1 {
		t.Errorf("it says more than once that the cluster does not answer:\n%s", out)
	}
	r.Cluster = reachable
	if out := statusText(t, r, view.Style{Now: now}); !strings.Contains(out, "! Blocked") {
		t.Errorf("the cluster answers, and it does not say what could not be seen:\n%s", out)
	}
}
