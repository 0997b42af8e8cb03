package view_test

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/public"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// at digs out a part of a document: "changes.0.steps".
func at(t *testing.T, doc []byte, path string) []byte {
	t.Helper()
	if path == "" {
		return doc
	}
	key, rest, _ := strings.Cut(path, ".")
	if n, err := strconv.Atoi(key); err == nil {
		var items []json.RawMessage
		if err := json.Unmarshal(doc, &items); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return at(t, items[n], rest)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(doc, &fields); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return at(t, fields[key], rest)
}

// agree holds a document to the keys of the contract, in their order.
func agree(t *testing.T, doc []byte, contract map[string]string) {
	t.Helper()
	for path, want := range contract {
		if got := keysOf(t, at(t, doc, path)); got != want {
			t.Errorf("%q has keys\n%s, want\n%s", path, got, want)
		}
	}
}

// TestPlanJSONContract fails when a script that reads plan --json would.
func TestPlanJSONContract(t *testing.T) {
	t.Parallel()
	p := planned(3, created(inference("qwen", 31)), updated(weather("eu"), plan.Money, plan.LiveChanged, "", live(priceField("1", "2"))))
	p.Changes[1].Offer, p.Changes[1].DeclaredAt = nil, offer.Source{}
	p.Changes[1].Steps[0].Fields[0].Before = nil
	var b bytes.Buffer
	if err := view.PlanJSON(&b, p, "0.1.0"); err != nil {
		t.Fatal(err)
	}
	agree(t, b.Bytes(), map[string]string{
		"":                           "format_version obolctl_version site source cluster complete summary unaccepted changes",
		"source":                     "path sha256 git_commit git_dirty",
		"cluster":                    "contacted reachable server version uid",
		"summary":                    "create update replace delete start restart reload stop drain undrain undelete takeover blocked withheld unchanged",
		"changes.0":                  "address type namespace name action class cause why declared_at withheld next price steps",
		"changes.0.price":            "text atomic network testnet pay_to url",
		"changes.0.steps.0":          "id action needs fields",
		"changes.0.steps.3.fields.0": "path before after writer written_at",
	})
	for path, want := range map[string]string{
		"format_version": `"1.0"`, "obolctl_version": `"0.1.0"`,
		"changes.0.next": "null", "changes.0.declared_at": `"offers.hcl:31"`, "changes.0.price.atomic": `"500"`,
		"changes.0.steps.0.needs": "[]", "changes.0.steps.0.fields": "[]", "changes.0.steps.3.needs.0": `"Gateway/llm/qwen"`,
		"changes.0.steps.3.fields.0.before": "null", "changes.0.steps.3.fields.0.writer": "null",
		"changes.1.price": "null", "changes.1.declared_at": "null",
		"changes.1.steps.0.fields.0.written_at": `"2026-11-23T03:00:00Z"`,
	} {
		if got := string(at(t, b.Bytes(), path)); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	if got := at(t, planDoc(t, planned(0)), "changes"); string(got) != "[]" {
		t.Errorf("changes of an idle plan = %s, want []", got)
	}
}

// TestPlanJSONMixedFates tells apart what a change does and what it withholds.
func TestPlanJSONMixedFates(t *testing.T) {
	t.Parallel()
	c := held(updated(weather("us"), plan.Money, plan.LiveChanged, "", priceField("1", "2")), "")
	c.Steps = append(c.Steps, plan.Step{ID: id(resource.Service, weather("us")), Action: plan.Create})
	doc := planDoc(t, planned(0, c))
	if got := keysOf(t, at(t, doc, "changes.0.steps.0")); got != "id action needs fields" {
		t.Errorf("a step with its change's fate has keys %s", got)
	}
	if got := string(at(t, doc, "changes.0.steps.1.withheld")); got != "false" {
		t.Errorf("withheld of the step that is done = %s, want false", got)
	}
	for key, want := range map[string]string{"summary.withheld": "1", "summary.create": "1", "summary.update": "0"} {
		if got := string(at(t, doc, key)); got != want {
			t.Errorf("%s = %s, want %s", key, got, want)
		}
	}
}

func planDoc(t *testing.T, p plan.Plan) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := view.PlanJSON(&b, p, "0.1.0"); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestStatusJSONContract fails when a script that reads status --json would.
func TestStatusJSONContract(t *testing.T) {
	t.Parallel()
	o := sells(inference("qwen", 31))
	o.Gateway = runs(4242)
	o.Gateway.Last = &resource.Exit{Code: 1, At: now}
	o.Upstream = &plan.UpstreamStatus{Namespace: "apps", Name: "weather"}
	o.Drain = &offer.Drain{Origin: offer.FromLive, By: "kubectl", At: now}
	o.Tombstone = &offer.Tombstone{By: "ana", At: now}
	o.Drift = []plan.Drift{{Difference: live(priceField("live", "accepted")), Class: plan.Money}}
	r := plan.Report{Site: "home", Cluster: reachable, Accepted: &plan.Accepted{Number: 7, At: now}, LastBoot: now,
		LastConverge: plan.Run{At: now, Exit: 2}, Offers: []plan.OfferStatus{o, {Key: o.Key}},
		Decisions: []plan.Change{held(created(inference("qwen", 31)), "obolctl apply")}}
	var b bytes.Buffer
	if err := view.StatusJSON(&b, r, nil); err != nil {
		t.Fatal(err)
	}
	agree(t, b.Bytes(), map[string]string{
		"":              "format_version site cluster last_boot last_converge accepted offers decisions",
		"cluster":       "contacted reachable server version uid",
		"last_converge": "time exit",
		"accepted":      "number commit dirty time",
		"offers.0": "address type namespace name declared accepted live ready sellable conditions drained tombstone " +
			"price gateway upstream drift outside",
		"offers.0.upstream":          "namespace service ready why",
		"offers.0.drained":           "origin by at ends_at reason in_force",
		"offers.0.tombstone":         "by at uid reason",
		"offers.0.gateway":           "state supervisor pid listen healthy since restarts version last_exit",
		"offers.0.gateway.last_exit": "code signal oom at",
		"offers.0.drift.0":           "path accepted live writer written_at class",
		"decisions.0":                "address class cause why next",
	})
	for path, want := range map[string]string{
		"offers.0.drift.0.live": `"live"`, "offers.0.drift.0.accepted": `"accepted"`, "offers.1.gateway": "null",
		"offers.1.ready": "null", "offers.1.live": `"unknown"`, "offers.1.conditions": "[]", "offers.1.drift": "[]",
	} {
		if got := string(at(t, b.Bytes(), path)); got != want {
			t.Errorf("%s = %s, want %s", path, got, want)
		}
	}
	var none bytes.Buffer
	if err := view.StatusJSON(&none, plan.Report{}, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"last_boot": "null", "last_converge": "null", "accepted": "null", "offers": "[]", "decisions": "[]"} {
		if got := string(at(t, none.Bytes(), path)); got != want {
			t.Errorf("%s of an empty report = %s, want %s", path, got, want)
		}
	}
}

// TestWordsForAll finds a cause, an action or a class without words of its own:
// the names that machines get are not for people.
func TestWordsForAll(t *testing.T) {
	t.Parallel()
	o := inference("qwen", 31)
	said := map[string]plan.Cause{}
	for _, cause := range causes {
		screen := planText(t, planned(0, updated(o, plan.Config, cause, "")), view.Style{})
		if strings.Contains(screen, "_") {
			t.Errorf("%s has no words:\n%s", cause, screen)
		}
		if other, taken := said[screen]; taken {
			t.Errorf("%s and %s read alike", cause, other)
		}
		said[screen] = cause
	}
	for _, class := range classes {
		screen := planText(t, planned(0, updated(o, class, plan.FileChanged, "the file changed")), view.Style{})
		if asks := strings.Contains(screen, " · the file changed"); asks == (class == plan.Restore || class == plan.Config) {
			t.Errorf("%s says of more consent than usual: %v\n%s", class, asks, screen)
		}
	}
}

func planText(t *testing.T, p plan.Plan, s view.Style) string {
	t.Helper()
	var b bytes.Buffer
	if err := view.Plan(&b, p, s); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestManyChanges keeps a large plan readable, and hides nothing that moves
// money or removes.
func TestManyChanges(t *testing.T) {
	t.Parallel()
	lines := func(s string) int { return strings.Count(s, "\n") }
	tests := map[string]struct {
		change func(*offer.Offer) plan.Change
		style  view.Style
		most   int // lines
		least  int
	}{
		"restores are cut":        {rebooted, view.Style{}, 40, 20},
		"creations are cut":       {created, view.Style{}, 40, 20},
		"prices are all there":    {repriced, view.Style{}, 2020, 2000},
		"deletes are all there":   {deleted, view.Style{}, 1020, 1000},
		"verbose shows all":       {rebooted, view.Style{Verbose: true}, 9000, 4000},
		"quiet is a line for one": {rebooted, view.Style{Quiet: true}, 1001, 1001},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if n := lines(planText(t, planned(0, many(1000, tc.change)...), tc.style)); n < tc.least || n > tc.most {
				t.Errorf("%d lines, want %d to %d", n, tc.least, tc.most)
			}
		})
	}
	if n := lines(planText(t, planned(1000), view.Style{})); n != 1 {
		t.Errorf("1,000 unchanged offers take %d lines, want 1", n)
	}
}

// TestStatusOneOfNone says so instead of showing nothing.
func TestStatusOneOfNone(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := view.StatusOne(&b, reports()["well"], offer.Address{Type: offer.HTTP, Label: "none"}, nil, view.Style{})
	if err == nil || !strings.Contains(err.Error(), "http.none") || b.Len() > 0 {
		t.Errorf("error = %v, output = %q", err, b.String())
	}
}

// TestStatusOneStopsAtTheFirstBreak shows each way in which an offer may be
// broken, with the command to type, and nothing behind it.
func TestStatusOneStopsAtTheFirstBreak(t *testing.T) {
	t.Parallel()
	with := func(f func(*plan.OfferStatus)) plan.OfferStatus {
		o := sells(inference("qwen", 31))
		o.Gateway = runs(4242)
		f(&o)
		return o
	}
	const shop = "https://shop.example.org"
	listed := public.Answer{Method: "GET", URL: shop + "/api/services.json", Expects: public.ExpectCatalog, Verdict: public.Match, Status: 200}
	unlisted, gone := listed, listed
	unlisted.Verdict, unlisted.Differences = public.Mismatch, []resource.Difference{{Path: "llm/qwen", Before: "for sale"}}
	gone.Verdict, gone.Status, gone.Why = public.Unknown, 0, "connection refused"
	right := answered(shop+"/services/qwen/", public.Match, 402)
	seen := func(catalog public.Answer, urls ...public.Answer) view.Outside {
		return view.Outside{Catalog: &catalog, URLs: urls}
	}
	fine := with(func(*plan.OfferStatus) {})
	tests := map[string]struct {
		offer   plan.OfferStatus
		outside view.Outside
		broken  string
		next    string // the end of the last line
	}{
		"stopped":     {with(func(o *plan.OfferStatus) { o.Gateway.State = resource.GatewayStopped }), view.Outside{}, "gateway", ": obolctl converge"},
		"crash loop":  {with(func(o *plan.OfferStatus) { o.Gateway.State = resource.GatewayCrashLooping }), view.Outside{}, "gateway", ": obolctl logs inference.qwen -n 20"},
		"deaf":        {with(func(o *plan.OfferStatus) { o.Gateway.Answering = false }), view.Outside{}, "gateway", ": obolctl restart inference.qwen"},
		"no upstream": {with(func(o *plan.OfferStatus) { o.Gateway.Healthy = false }), view.Outside{}, "upstream", ": curl -i http://127.0.0.1:11434/api/version"},
		"odd upstream": {with(func(o *plan.OfferStatus) {
			of := *o.Offer
			of.Upstream.HealthPath = "/it's?a=1&b"
			o.Offer, o.Gateway.Healthy = &of, false
		}), view.Outside{}, "upstream", `: curl -i 'http://127.0.0.1:11434/it'\''s?a=1&b'`},
		"no offer": {with(func(o *plan.OfferStatus) { o.Live = resource.Absent }), view.Outside{}, "conditions", ": obolctl plan --target inference.qwen"},
		"no route": {with(func(o *plan.OfferStatus) { o.Conditions = conditions("RoutePublished", "PathConflict", "taken") }), view.Outside{},
			"conditions", ": kubectl describe serviceoffer -n llm qwen"},
		"not listed": {with(func(o *plan.OfferStatus) { o.Sellable = no() }), view.Outside{}, "catalog", ": obolctl plan --target inference.qwen"},
		"unregistered sells": {with(func(o *plan.OfferStatus) { o.Conditions = conditions("Registered", "Pending", "") }), view.Outside{},
			"", ": obolctl probe inference.qwen"},
		"sells":       {fine, seen(listed, right, right), "", "as accepted: " + shop + "/services/qwen/, and 1 other"},
		"unlisted":    {fine, seen(unlisted, right), "catalog", ": obolctl probe inference.qwen"},
		"free":        {fine, seen(listed, right, answered(shop+"/services/qwen/free", public.Mismatch, 200)), "402", ": obolctl probe inference.qwen"},
		"unreachable": {fine, seen(gone, answered(shop+"/services/qwen/", public.Unknown, 0)), "", ": obolctl probe inference.qwen"},
		"broken before": {with(func(o *plan.OfferStatus) { o.Gateway.Healthy = false }), seen(unlisted, right), "upstream",
			": curl -i http://127.0.0.1:11434/api/version"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var b bytes.Buffer
			r := plan.Report{Cluster: reachable, Offers: []plan.OfferStatus{tc.offer}}
			if err := view.StatusOne(&b, r, tc.offer.Address, map[offer.Key]view.Outside{tc.offer.Key: tc.outside}, view.Style{Now: now, Width: 200}); err != nil {
				t.Fatal(err)
			}
			broken := ""
			for line := range strings.Lines(b.String()) {
				if strings.Contains(line, "✗ broken") {
					broken = strings.Fields(line)[0]
				}
			}
			lines := strings.Split(strings.TrimSpace(b.String()), "\n")
			if broken != tc.broken || !strings.HasSuffix(lines[len(lines)-1], tc.next) {
				t.Errorf("broken %q, want %q; last line %q, want %q", broken, tc.broken, lines[len(lines)-1], tc.next)
			}
		})
	}
}
