package view_test

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
	"pgregory.net/rapid"
)

var (
	actions = []plan.Action{plan.Delete, plan.Replace, plan.TakeOver, plan.Undelete, plan.Undrain, plan.Drain, plan.Create,
		plan.Start, plan.Restart, plan.Stop, plan.Update, plan.Reload, plan.Block, plan.None}
	classes = []plan.Class{plan.Restore, plan.Config, plan.Money, plan.Destructive, plan.Revive, plan.Takeover}
	causes  = []plan.Cause{plan.Declared, plan.FileChanged, plan.Removed, plan.LiveChanged, plan.BothChanged, plan.DeletedLive,
		plan.DrainedLive, plan.ObjectMissing, plan.AddressChanged, plan.ClusterRebuilt, plan.RolledBack, plan.HostRebooted, plan.Crashed,
		plan.Unhealthy, plan.Upgraded, plan.HeldDown, plan.Tombstoned, plan.Foreign, plan.OtherHolder, plan.OtherCluster, plan.AgentWallet, plan.Unknown}
	kinds = []string{resource.Namespace, resource.Deployment, resource.Service, resource.EndpointSlice, resource.GatewayKind, resource.ServiceOffer}
)

// anyText is what a cluster, a log or a person may write: escapes, marks that
// reorder text, and bytes that are no text among it.
func anyText() *rapid.Generator[string] {
	return rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "kubectl-edit", "\x1b[31mred", "\u202egpj.exe", "a\nb\tc", "\xff", "\u009b2J"}))
}

func anyValue() *rapid.Generator[any] {
	return rapid.OneOf(rapid.Just[any](nil), rapid.Map(anyText(), func(s string) any { return s }),
		rapid.Map(rapid.IntRange(-9, 1<<40), func(n int) any { return float64(n) }),
		rapid.Map(rapid.SliceOfN(anyText(), 0, 9), func(s []string) any { return s }))
}

func anyTime() *rapid.Generator[time.Time] {
	return rapid.Map(rapid.IntRange(-1_000_000, 10_000_000), func(s int) time.Time { return ago(time.Duration(s) * time.Second) })
}

func drawDifference(t *rapid.T) resource.Difference {
	d := resource.Difference{Path: anyText().Draw(t, "path"), Before: anyValue().Draw(t, "before"), After: anyValue().Draw(t, "after")}
	if rapid.Bool().Draw(t, "written") {
		d.Writer, d.WrittenAt = anyText().Draw(t, "writer"), anyTime().Draw(t, "at")
	}
	return d
}

func drawOffer(t *rapid.T) *offer.Offer {
	o := inference(rapid.StringMatching(`[a-z][a-z0-9-]{0,40}`).Draw(t, "label"), rapid.IntRange(0, 999).Draw(t, "line"))
	o.Address.Keyed = rapid.Bool().Draw(t, "keyed")
	if o.Address.Keyed {
		o.Address.Key = anyText().Draw(t, "key")
	}
	o.Payments[0].Network = rapid.SampledFrom([]string{"base", "base-sepolia", "nowhere"}).Draw(t, "network")
	o.Payments[0].Price.Unit = rapid.SampledFrom([]offer.Unit{offer.PerRequest, offer.PerMTok, offer.PerHour}).Draw(t, "unit")
	o.Hostname = rapid.SampledFrom([]string{"", "shop.example.org"}).Draw(t, "hostname")
	return o
}

func drawChange(t *rapid.T) plan.Change {
	o := drawOffer(t)
	c := plan.Change{Key: o.Key(), Address: o.Address, DeclaredAt: o.At, Next: rapid.SampledFrom([]string{"", "obolctl apply"}).Draw(t, "next")}
	if rapid.Bool().Draw(t, "known") {
		c.Offer = o
	}
	for range rapid.IntRange(0, 4).Draw(t, "steps") {
		s := plan.Step{ID: id(rapid.SampledFrom(kinds).Draw(t, "kind"), o), Action: rapid.SampledFrom(actions).Draw(t, "action"),
			Class: rapid.SampledFrom(classes).Draw(t, "class"), Cause: rapid.SampledFrom(causes).Draw(t, "cause"),
			Why: anyText().Draw(t, "why"), Withheld: rapid.Bool().Draw(t, "withheld")}
		for range rapid.IntRange(0, 3).Draw(t, "fields") {
			s.Fields = append(s.Fields, drawDifference(t))
		}
		c.Steps = append(c.Steps, s)
	}
	c.Action, c.Class = rapid.SampledFrom(actions).Draw(t, "top"), rapid.SampledFrom(classes).Draw(t, "top class")
	c.Cause, c.Withheld = rapid.SampledFrom(causes).Draw(t, "top cause"), rapid.Bool().Draw(t, "top withheld")
	return c
}

func drawPlan(t *rapid.T) plan.Plan {
	p := planned(rapid.IntRange(0, 5000).Draw(t, "unchanged"))
	p.Complete = rapid.Bool().Draw(t, "complete")
	p.Cluster.Why, p.Cluster.Unknown = anyText().Draw(t, "why"), map[string]string{"Service": anyText().Draw(t, "unknown")}
	p.Notes = rapid.SliceOfN(anyText(), 0, 3).Draw(t, "notes")
	for range rapid.IntRange(0, 20).Draw(t, "changes") {
		p.Changes = append(p.Changes, drawChange(t))
	}
	return p
}

func drawStyle(t *rapid.T) view.Style {
	s := view.Style{Width: rapid.SampledFrom([]int{0, 10, 40, 80, 200}).Draw(t, "width"), Quiet: rapid.Bool().Draw(t, "quiet"), Verbose: rapid.Bool().Draw(t, "verbose")}
	if rapid.Bool().Draw(t, "clock") {
		s.Now = now
	}
	return s
}

var sgr = regexp.MustCompile("\x1b\\[[0-9]+m")

// TestPlanLaws holds for any plan: nobody is left out, nothing that the world
// wrote reaches the terminal as a command, and colour says nothing that words
// do not.
func TestPlanLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, s := drawPlan(t), drawStyle(t)
		out := said(t, p, s)
		for _, c := range p.Changes {
			if !strings.Contains(out, c.Address.String()) {
				t.Fatalf("%s is not mentioned in:\n%s", c.Address, out)
			}
		}
		for _, r := range out {
			if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
				t.Fatalf("%q reaches the terminal in:\n%q", r, out)
			}
		}
		if !p.Complete && !strings.Contains(out, "! Not complete:") {
			t.Fatalf("an incomplete plan does not say so:\n%s", out)
		}
		s.Color = true
		if got := sgr.ReplaceAllString(said(t, p, s), ""); got != out {
			t.Fatalf("colour changes the text from\n%s\nto\n%s", out, got)
		}
	})
}

func said(t *rapid.T, p plan.Plan, s view.Style) string {
	var b bytes.Buffer
	if err := view.Plan(&b, p, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestPlanJSONLaws holds for any plan: the document is JSON, the same twice,
// and its numbers count every step once.
func TestPlanJSONLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPlan(t)
		var a, b bytes.Buffer
		for _, w := range []*bytes.Buffer{&a, &b} {
			if err := view.PlanJSON(w, p, "0.1.0"); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Fatal("two documents of one plan differ")
		}
		var doc struct {
			Summary map[string]int
			Changes []struct{ Address string }
		}
		if err := json.Unmarshal(a.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		got := -p.Unchanged
		for _, n := range doc.Summary {
			got += n
		}
		if want := stepsOf(p); got != want {
			t.Fatalf("the summary counts %d steps, the plan has %d", got, want)
		}
		if len(doc.Changes) != len(p.Changes) {
			t.Fatalf("%d changes of %d", len(doc.Changes), len(p.Changes))
		}
	})
}

// stepsOf counts what a plan does, withholds or blocks. A change whose steps do
// nothing is one, unless it does nothing itself.
func stepsOf(p plan.Plan) int {
	n := 0
	for _, c := range p.Changes {
		before := n
		for _, s := range c.Steps {
			if s.Action != plan.None {
				n++
			}
		}
		if n == before && (c.Action != plan.None || c.Withheld) {
			n++
		}
	}
	return n
}

// TestStatusLaws holds for any report: every offer is there, and colour says
// nothing that words do not.
func TestStatusLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		r := plan.Report{Site: "home", Cluster: reachable}
		for range rapid.IntRange(0, 9).Draw(t, "offers") {
			r.Offers = append(r.Offers, drawStatus(t))
		}
		s := drawStyle(t)
		s.Quiet = false
		out := stands(t, r, s)
		for _, o := range r.Offers {
			if !strings.Contains(out, o.Address.String()) {
				t.Fatalf("%s is not mentioned in:\n%s", o.Address, out)
			}
			var b bytes.Buffer
			if err := view.StatusOne(&b, r, o.Address, nil, s); err != nil {
				t.Fatal(err)
			}
		}
		s.Color = true
		if got := sgr.ReplaceAllString(stands(t, r, s), ""); got != out {
			t.Fatalf("colour changes the text from\n%s\nto\n%s", out, got)
		}
		var b bytes.Buffer
		if err := view.StatusJSON(&b, r, nil); err != nil || !json.Valid(b.Bytes()) {
			t.Fatalf("no JSON (%v): %s", err, b.Bytes())
		}
	})
}

// TestLiveLaws holds for any sight, whatever is pressed: a frame fills its
// terminal and no more, nothing that the world wrote reaches it as a command, and
// colour says nothing that words do not.
func TestLiveLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var l view.Live
		for range rapid.IntRange(1, 3).Draw(t, "looks") {
			l.See(drawSight(t), now)
			for _, k := range rapid.SliceOfN(rapid.Uint8Range(uint8(view.NoKey), uint8(view.KeyQuit)), 0, 4).Draw(t, "keys") {
				l.Press(view.Key(k))
			}
		}
		s := view.Style{Now: now, Width: rapid.IntRange(1, 130).Draw(t, "width")}
		rows := rapid.IntRange(1, 50).Draw(t, "rows")
		lines := l.Draw(s, rows)
		if len(lines) != rows {
			t.Fatalf("%d lines of %d", len(lines), rows)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(line); n > s.Width {
				t.Fatalf("%d columns of %d: %q", n, s.Width, line)
			}
			for _, r := range line {
				if r == utf8.RuneError || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
					if r != utf8.RuneError || !utf8.ValidString(line) {
						t.Fatalf("%q reaches the terminal in %q", r, line)
					}
				}
			}
		}
		s.Color = true
		if got := sgr.ReplaceAllString(strings.Join(l.Draw(s, rows), "\n"), ""); got != strings.Join(lines, "\n") {
			t.Fatalf("colour changes the text from\n%s\nto\n%s", strings.Join(lines, "\n"), got)
		}
	})
}

// drawSight draws what a live view may be shown.
func drawSight(t *rapid.T) view.Sight {
	x := view.Sight{Report: plan.Report{Site: "home", Cluster: reachable}, Outside: map[offer.Key]view.Outside{},
		Seen: anyTime().Draw(t, "seen"), Host: anyTime().Draw(t, "host"), Why: anyText().Draw(t, "why not")}
	for range rapid.IntRange(0, 9).Draw(t, "offers") {
		o := drawStatus(t)
		for _, kind := range []string{"UpstreamHealthy", anyText().Draw(t, "condition")} {
			o.Conditions = append(o.Conditions, plan.Condition{Type: kind, Status: anyText().Draw(t, "is"), Reason: anyText().Draw(t, "reason"), Message: anyText().Draw(t, "message")})
		}
		a := public.Answer{URL: "https://x.org/" + anyText().Draw(t, "url"), Verdict: rapid.SampledFrom([]public.Verdict{public.Unknown, public.Match, public.Mismatch}).Draw(t, "verdict"),
			Status: 402, Why: anyText().Draw(t, "answer"), Differences: []resource.Difference{drawDifference(t)}}
		x.Outside[o.Key] = view.Outside{Catalog: &a, URLs: []public.Answer{a}}
		x.Report.Offers = append(x.Report.Offers, o)
	}
	for range rapid.IntRange(0, 3).Draw(t, "decisions") {
		x.Report.Decisions = append(x.Report.Decisions, drawChange(t))
	}
	for range rapid.IntRange(0, 5).Draw(t, "entries") {
		x.Entries = append(x.Entries, view.Entry{Time: anyTime().Draw(t, "then"), Event: anyText().Draw(t, "event"), Address: anyText().Draw(t, "whose"), By: anyText().Draw(t, "who"), Text: anyText().Draw(t, "text")})
	}
	return x
}

func stands(t *rapid.T, r plan.Report, s view.Style) string {
	var b bytes.Buffer
	if err := view.Status(&b, r, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func drawStatus(t *rapid.T) plan.OfferStatus {
	truth := rapid.SampledFrom([]*bool{nil, yes(), no()})
	o := plan.OfferStatus{Live: rapid.SampledFrom([]resource.Presence{resource.Unknown, resource.Absent, resource.Present}).Draw(t, "live"),
		Accepted: rapid.Bool().Draw(t, "accepted"), Ready: truth.Draw(t, "ready"), Sellable: truth.Draw(t, "sellable")}
	of := drawOffer(t)
	o.Key, o.Address = of.Key(), of.Address
	if rapid.Bool().Draw(t, "known") {
		o.Offer = of
	}
	if rapid.Bool().Draw(t, "drained") {
		o.Drain = &offer.Drain{At: anyTime().Draw(t, "drained at"), By: anyText().Draw(t, "by")}
	}
	if rapid.Bool().Draw(t, "deleted") {
		o.Tombstone = &offer.Tombstone{At: anyTime().Draw(t, "deleted at"), Reason: anyText().Draw(t, "reason")}
	}
	if rapid.Bool().Draw(t, "gateway") {
		o.Gateway = &resource.Running{State: rapid.SampledFrom([]resource.GatewayState{"", resource.GatewayRunning, resource.GatewayStarting,
			resource.GatewayStopped, resource.GatewayFailed, resource.GatewayCrashLooping, resource.GatewayUnknown}).Draw(t, "state"),
			HealthReason: anyText().Draw(t, "health"), Answering: rapid.Bool().Draw(t, "answering"), Healthy: rapid.Bool().Draw(t, "healthy")}
	}
	if rapid.Bool().Draw(t, "drift") {
		o.Drift = []plan.Drift{{Difference: drawDifference(t), Class: plan.Money}}
	}
	return o
}
