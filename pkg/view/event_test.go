package view_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
	"golang.org/x/tools/txtar"
)

// step is one event about the gateway or the offer of qwen.
func step(kind view.EventKind, resourceKind string, a plan.Action) view.Event {
	o := inference("qwen", 31)
	return view.Event{Time: now, Kind: kind, Address: o.Address, Key: o.Key(), ID: id(resourceKind, o), Action: a}
}

// runEvents are what the printers are told in one situation.
func runEvents() map[string][]view.Event {
	begin := view.Event{Time: now, Kind: view.Begin, Run: "apply", Site: "home"}
	done := step(view.StepDone, resource.Service, plan.Create)
	done.Took = 120 * time.Millisecond
	failed := step(view.StepFailed, resource.GatewayKind, plan.Start)
	failed.Took, failed.Next = 2300*time.Millisecond, "obolctl logs inference.qwen --previous"
	failed.Error = "gateway exited with 1; its last lines:\nlisten tcp 127.0.0.1:8402: bind: address already in use\n"
	failed.DeclaredAt = offer.Source{File: "offers.hcl", Line: 31}
	waiting := step(view.Waiting, resource.ServiceOffer, "")
	waiting.For, waiting.Took = "UpstreamHealthy (Unhealthy)", 1200*time.Millisecond
	selling := []view.Selling{{Address: inference("qwen", 31).Address, Offer: *inference("qwen", 31), URL: "https://shop.example.org/services/qwen"},
		{Address: weather("eu").Address, Offer: *weather("eu")}}
	held := step(view.Withheld, resource.ServiceOffer, plan.Update)
	held.Class, held.Cause, held.Why, held.Next = plan.Money, plan.LiveChanged, "kubectl-edit changed it in the cluster", "obolctl apply --target inference.qwen"
	finish := func(s view.Summary) view.Event {
		return view.Event{Time: now.Add(time.Second), Kind: view.Summarized, Summary: s}
	}
	converge := begin
	converge.Run = "converge"
	return map[string][]view.Event{
		"applied": {begin, step(view.StepStarted, resource.Service, plan.Create), done, waiting, waiting, held,
			finish(view.Summary{Counts: view.Counts{Create: 3, Start: 1, Withheld: 1, Unchanged: 2}, Writes: 7,
				Requests: map[string]int{"list": 6, "patch": 7}, Elapsed: 840 * time.Millisecond, Sells: selling})},
		"failed": {begin, done, failed, finish(view.Summary{Counts: view.Counts{Create: 1}, Failed: 1, Writes: 2, Elapsed: 64 * time.Second})},
		"nothing": {begin, finish(view.Summary{Counts: view.Counts{Unchanged: 4}, Requests: map[string]int{"list": 6},
			Elapsed: 300 * time.Millisecond, UnchangedDigest: "9f86d081"})},
		"unsold": {begin, waiting, finish(view.Summary{Counts: view.Counts{Unchanged: 4}, Elapsed: 2 * time.Minute, UnchangedDigest: "9f86d081",
			Unsold: []string{"inference.qwen", `http.weather["eu"]`}})},
		"unseen": {begin, finish(view.Summary{Counts: view.Counts{Unchanged: 4}, Elapsed: 10 * time.Second, UnchangedDigest: "9f86d081",
			Sells: selling[:1], Unseen: selling[1:]})},
		"blind":    {converge, finish(view.Summary{Counts: view.Counts{Unchanged: 1}, Incomplete: true, Elapsed: 5 * time.Minute})},
		"restored": {converge, finish(view.Summary{Counts: view.Counts{Start: 1000}, Writes: 1000, Elapsed: 12 * time.Second})},
	}
}

func TestPrinters(t *testing.T) {
	t.Parallel()
	for name, events := range runEvents() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var files []txtar.File
			for _, s := range styles {
				human := screen(t, func(b *bytes.Buffer) error {
					h := view.NewHumanPrinter(b, s.style)
					tell(h, events)
					return h.Err()
				})
				if s.name == "plain" {
					fits(t, name, string(human), 80)
				}
				files = append(files, txtar.File{Name: s.name, Data: human})
			}
			files = append(files, txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error {
				j := view.NewJSONPrinter(b)
				tell(j, events)
				return j.Err()
			})})
			golden(t, "run/"+name, files...)
		})
	}
}

func tell(p view.Printer, events []view.Event) {
	for _, e := range events {
		p.Event(e)
	}
}

// TestEventKeys holds JSON events to the contract.
func TestEventKeys(t *testing.T) {
	t.Parallel()
	want := map[view.EventKind]string{
		view.Begin:       "time event run site",
		view.StepStarted: "time event address id action",
		view.StepDone:    "time event address id action elapsed_ms",
		view.StepFailed:  "time event address id action elapsed_ms error declared_at next",
		view.Waiting:     "time event address for elapsed_ms",
		view.Withheld:    "time event address action class cause why next",
		view.Summarized: "time event create update replace delete start restart reload stop drain undrain undelete takeover " +
			"blocked withheld unchanged failed writes requests elapsed_ms complete sells unseen unsold unchanged_digest",
	}
	for kind, keys := range want {
		var b bytes.Buffer
		view.NewJSONPrinter(&b).Event(view.Event{Time: now, Kind: kind})
		if got := keysOf(t, b.Bytes()); got != keys {
			t.Errorf("%s has keys %q, want %q", kind, got, keys)
		}
	}
}

// keysOf lists the keys of a JSON object in the order in which they are written.
func keysOf(t *testing.T, doc []byte) string {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(doc))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	var keys []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			t.Fatal(err)
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key.(string))
	}
	return strings.Join(keys, " ")
}

// TestPrintersTogether tells a printer from many goroutines: no line is torn.
func TestPrintersTogether(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	j := view.NewJSONPrinter(&b)
	h := view.NewHumanPrinter(&bytes.Buffer{}, view.Style{})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			tell(j, []view.Event{step(view.StepDone, resource.Service, plan.Create)})
			tell(h, []view.Event{step(view.Waiting, resource.Service, "")})
		})
	}
	all.Wait()
	lines := 0
	for line := range strings.Lines(b.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("torn line %q", line)
		}
		lines++
	}
	if lines != 50 {
		t.Errorf("%d lines, want 50", lines)
	}
}

type full struct{ writes int }

func (f *full) Write([]byte) (int, error) {
	f.writes++
	return 0, errors.New("no space left on device")
}

// TestPrintersKeepTheirError says what became of a printer's output, and stops
// writing after the first failure.
func TestPrintersKeepTheirError(t *testing.T) {
	t.Parallel()
	e := step(view.StepDone, resource.Service, plan.Create)
	var a, b full
	j, h := view.NewJSONPrinter(&a), view.NewHumanPrinter(&b, view.Style{})
	tell(j, []view.Event{e, e})
	tell(h, []view.Event{e, e})
	for name, err := range map[string]error{"json": j.Err(), "human": h.Err()} {
		if err == nil || err.Error() != "no space left on device" {
			t.Errorf("%s: error = %v", name, err)
		}
	}
	if a.writes != 1 || b.writes != 1 {
		t.Errorf("%d and %d writes after the disk was full, want 1 each", a.writes, b.writes)
	}
}

// TestFaults shows errors to people and to scripts.
func TestFaults(t *testing.T) {
	t.Parallel()
	faults := map[string]view.Fault{
		"stale": {Code: "stale_plan", Summary: "the plan no longer holds", Detail: "ServiceOffer/llm/qwen has moved since it was made.\nPlan again: obolctl plan --out FILE"},
		"file":  {Code: "bad_file", Summary: "price is finer than its asset", Detail: "USDC has 6 decimals.", File: "offers.hcl", Line: 31},
	}
	for name, f := range faults {
		golden(t, "fault/"+name,
			txtar.File{Name: "plain", Data: screen(t, func(b *bytes.Buffer) error { return view.FaultText(b, f, view.Style{}) })},
			txtar.File{Name: "colour", Data: screen(t, func(b *bytes.Buffer) error { return view.FaultText(b, f, view.Style{Color: true}) })},
			txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error { return view.FaultJSON(b, f) })})
	}
}

// TestNoteFits keeps within the terminal what is said beside the data.
func TestNoteFits(t *testing.T) {
	t.Parallel()
	const words = "nothing reconciles the offers in this cluster (no Deployment x402/serviceoffer-controller): not waiting for them"
	got := screen(t, func(b *bytes.Buffer) error { return view.Note(b, words, view.Style{}) })
	fits(t, "note", string(got), 80)
	if strings.Join(strings.Fields(string(got)), " ") != words {
		t.Errorf("%q reads %q", words, got)
	}
}

// TestMemory shows history and state.
func TestMemory(t *testing.T) {
	t.Parallel()
	s := view.Style{Now: now}
	entries := []view.Entry{
		{Time: ago(50 * time.Hour), Event: "accepted", Number: 7, By: "ana", Commit: "3f2a9c1d5e6b", Text: "4 offers"},
		{Time: ago(3 * time.Hour), Event: "crashed", Address: "inference.qwen", By: "systemd", Text: "it exited with 1"},
		{Time: ago(3 * time.Hour), Event: "restored", Address: "inference.qwen"},
		{Time: ago(time.Minute), Event: "decision", Address: `http.weather["eu"]`, By: "kubectl-edit", Text: `spec.payment.price.perRequest: accepted "0.4", live "0.5"`},
	}
	qwen := inference("qwen", 31)
	set := plan.Accepted{Number: 7, By: "ana", At: ago(50 * time.Hour), Set: plan.Set{Offers: []offer.Offer{*qwen},
		Source: plan.Source{Path: "/home/ana/shop/offers.hcl", GitCommit: "3f2a9c1d5e6b", GitDirty: true}}}
	m := plan.Memory{Accepted: &set, Holder: "5d41402a", Context: "k3d-obol-stack", Kubeconfig: "/home/ana/.kube/config", BootID: "b-1",
		Marks: offer.Marks{
			Tombstones: []offer.Tombstone{{Key: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "old"}, Origin: offer.FromCommand, By: "ana", At: ago(time.Hour), Reason: "replaced"}},
			Drains:     []offer.Drain{{Key: qwen.Key(), Origin: offer.FromLive, By: "kubectl", At: ago(time.Hour), Grace: 30 * time.Minute}},
			Money:      []offer.MoneyDecision{{Key: qwen.Key(), Path: "spec.payment.payTo", Accepted: wallet, Live: "0x0", Writer: "kubectl-edit", Since: ago(time.Minute)}},
			Moved:      []offer.Moved{{Key: qwen.Key(), Holder: "7d793037", Since: ago(time.Minute)}},
		}}
	write := func(name string, f func(*bytes.Buffer) error) txtar.File {
		data := screen(t, f)
		if !strings.HasSuffix(name, "json") {
			fits(t, name, string(data), 80)
		}
		return txtar.File{Name: name, Data: data}
	}
	golden(t, "memory",
		write("history", func(b *bytes.Buffer) error { return view.History(b, entries, s) }),
		write("history none", func(b *bytes.Buffer) error { return view.History(b, nil, s) }),
		write("history json", func(b *bytes.Buffer) error { return view.HistoryJSON(b, "home", entries) }),
		write("history none json", func(b *bytes.Buffer) error { return view.HistoryJSON(b, "home", nil) }),
		write("state", func(b *bytes.Buffer) error { return view.State(b, "/home/ana/.local/state/obolctl/home", m, s) }),
		write("state none", func(b *bytes.Buffer) error { return view.State(b, "/s", plan.Memory{}, s) }),
		write("state json", func(b *bytes.Buffer) error { return view.StateJSON(b, "/s", m) }))
}
