package main

import (
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// TestCrashOf tells crashes of gateways that systemd keeps, once each.
func TestCrashOf(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	key := offer.Key{Type: offer.HTTP, Namespace: "shop", Name: "a"}
	id := resource.ID{Kind: resource.GatewayKind, Namespace: "shop", Name: "a"}
	crashed := func(change func(g *resource.Running)) resource.Sighting {
		g := &resource.Running{Answering: true, Supervisor: "systemd", Config: &resource.Gateway{Offer: key}, Last: &resource.Exit{Signal: "SIGKILL", At: at}}
		change(g)
		return resource.Sighting{Presence: resource.Present, Gateway: g}
	}
	for name, tc := range map[string]struct {
		change func(g *resource.Running)
		want   string
	}{
		"killed":        {func(*resource.Running) {}, "it ended with signal SIGKILL, and was started again"},
		"out of memory": {func(g *resource.Running) { g.Last.OOM = true }, "it ended with signal SIGKILL, out of memory, and was started again"},
		"exited":        {func(g *resource.Running) { g.Last = &resource.Exit{Code: 3} }, "it ended with status 3, and was started again"},
		"asked to end":  {func(g *resource.Running) { g.Last = &resource.Exit{} }, ""},
		"must not run":  {func(g *resource.Running) { g.Last = &resource.Exit{Code: 78} }, ""},
		"nobody knows":  {func(g *resource.Running) { g.Last = nil }, ""},
		"not back yet":  {func(g *resource.Running) { g.Answering = false }, ""},
		"detached":      {func(g *resource.Running) { g.Supervisor = "detached" }, ""},
		"whose is it?":  {func(g *resource.Running) { g.Config = nil }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, is := crashOf(id, crashed(tc.change))
			if got.Text != tc.want || is != (tc.want != "") || is && (got.Offer != key || got.Kind != state.EventCrashed) {
				t.Errorf("%v, %+v, want %q", is, got, tc.want)
			}
		})
	}
	e, _ := crashOf(id, crashed(func(*resource.Running) {}))
	began := state.Event{At: at.Add(-time.Hour), Kind: state.EventAccepted}
	other, later := e, e
	other.Offer.Name, later.At = "b", at.Add(time.Second)
	for name, tc := range map[string]struct {
		told []state.Event
		want bool
	}{
		"news": {[]state.Event{began}, false}, "told": {[]state.Event{began, e}, true}, "a later one told": {[]state.Event{began, later}, true},
		"another's": {[]state.Event{began, other}, false}, "from before the history": {[]state.Event{later}, true}, "the first of all": {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := isTold(e, tc.told); got != tc.want {
				t.Errorf("isTold = %v", got)
			}
		})
	}
}
