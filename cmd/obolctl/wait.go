package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/view"
)

// sellPoll is how often live offers are looked at while they are waited for.
const sellPoll = time.Second

// waitSellable waits until what should sell is sellable, at most for limit, and
// notes what still does not. Where nothing reconciles the offers it does not
// wait, and says so after a run that did something.
func (r *execution) waitSellable(ctx context.Context, limit time.Duration) {
	waiting := r.sellers()
	if len(waiting) == 0 {
		return
	}
	if c := r.in.World.Cluster.Controller; c != resource.Present {
		why := "nothing reconciles the offers in this cluster (no Deployment x402/serviceoffer-controller)"
		if c == resource.Unknown {
			why = "whether something reconciles the offers in this cluster could not be seen"
		}
		if len(r.outcomes) > 0 {
			r.w.say("%s: not waiting for them", why)
		}
		return
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	told := map[resource.ID]string{}
	for {
		ids := slices.SortedFunc(maps.Keys(waiting), resource.ID.Compare)
		_, seen := r.w.kube.Look(ctx, kube.Ask{IDs: ids, Site: r.w.site.Name(), SerialName: r.w.serialName()})
		for _, id := range ids {
			why := unsold(seen[id], time.Now())
			if why == "" {
				delete(waiting, id)
			} else if told[id] != why {
				told[id] = why
				r.printer.Event(view.Event{Time: time.Now(), Kind: view.Waiting, Address: waiting[id].address, Key: waiting[id].key, For: why})
			}
		}
		if len(waiting) == 0 {
			return
		}
		select {
		case <-ctx.Done():
			for _, id := range slices.SortedFunc(maps.Keys(waiting), resource.ID.Compare) {
				r.unsold = append(r.unsold, waiting[id].address.String())
			}
			return
		case <-time.After(sellPoll):
		}
	}
}

// sellers are the live offers that should sell now: accepted, not drained, and
// neither withheld nor failed in this run.
func (r *execution) sellers() map[resource.ID]named {
	out := map[resource.ID]named{}
	stuck := map[resource.ID]bool{}
	for _, c := range r.plan.Changes {
		for _, s := range c.Steps {
			stuck[s.ID] = stuck[s.ID] || s.Withheld || s.Action == plan.Block
		}
	}
	for _, o := range r.outcomes {
		stuck[o.ID] = stuck[o.ID] || o.Err != nil
	}
	set := r.in.Want
	if set == nil && r.in.Memory.Accepted != nil {
		set = &r.in.Memory.Accepted.Set
	}
	if set == nil {
		return out
	}
	for _, o := range set.Offers {
		id := resource.ID{Kind: resource.ServiceOffer, Namespace: o.Namespace, Name: o.Name}
		if o.InCluster() && plan.Selling(r.marks, o.Key()) && !stuck[id] && r.in.Policy.Includes(o.Key()) {
			out[id] = named{o.Key(), o.Address}
		}
	}
	return out
}

// unsold says what a live offer still waits for; "" when it is sellable.
func unsold(s resource.Sighting, now time.Time) string {
	if s.Presence != resource.Present {
		return "its ServiceOffer: " + s.Presence.String() + " " + s.Why
	}
	if _, sells := plan.Sellable(s.Object, now); sells != nil && *sells {
		return ""
	}
	for _, c := range plan.Conditions(s.Object) {
		if c.Status != "True" && c.Type != "Draining" && c.Type != "Ready" && c.Type != "Registered" {
			return fmt.Sprintf("%s (%s: %s)", c.Type, c.Reason, c.Message)
		}
	}
	return "the controller"
}

// say tells a person something that is no data.
func (w *workspace) say(format string, args ...any) {
	if !w.json && !w.quiet {
		_ = view.Note(w.stderr, fmt.Sprintf(format, args...), w.errStyle(w.process)) // nowhere left to report to
	}
}
