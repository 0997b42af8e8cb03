package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

// forget takes our marks off the objects of some offers, and the offers out of
// the memory. An offer whose object could not be seen or written is kept.
func (w *workspace) forget(ctx context.Context, tx *state.Tx, keys []offer.Key) error {
	in, err := w.look(ctx)
	if err != nil {
		return err
	}
	var errs error
	forgotten := map[offer.Key]bool{}
	for _, k := range keys {
		if err := w.unmark(ctx, in, k); err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		forgotten[k] = true
	}
	old := *w.accepted()
	set := old
	set.Offers = slices.DeleteFunc(slices.Clone(old.Offers), func(o offer.Offer) bool { return forgotten[o.Key()] })
	set.Specs = slices.DeleteFunc(slices.Clone(old.Specs), func(s resource.Spec) bool { return forgotten[s.Offer] })
	marks := w.memory.Marks
	for k := range forgotten {
		marks = marks.WithoutDrain(k).WithoutMoney(k).WithoutMoved(k).WithoutDeleted(k)
	}
	if err := tx.SetMarks(marks); err != nil {
		return errors.Join(errs, err)
	}
	now, names := time.Now().UTC(), w.addressesOf(forgotten)
	var events []state.Event
	for _, o := range old.Offers {
		if forgotten[o.Key()] {
			events = append(events, state.Event{At: now, Kind: state.EventForgotten, Offer: o.Key(), Address: o.Address, By: w.user()})
		}
	}
	_, err = tx.Accept(plan.Accepted{By: w.user(), At: now, Set: set})
	errs = errors.Join(errs, err, tx.Note(events...))
	said := ""
	if len(names) > 0 {
		said = fmt.Sprintf("Forgotten: %s. What sells goes on; to take it on again: %s.\n", strings.Join(names, ", "), view.AtSite("obolctl apply", w.here))
	}
	return errors.Join(errs, w.answer(said, map[string]any{"forgotten": names}))
}

// addressesOf names offers as people type them, sorted.
func (w *workspace) addressesOf(keys map[offer.Key]bool) []string {
	names := []string{}
	for k := range keys {
		names = append(names, w.addressOf(k))
	}
	slices.Sort(names)
	return names
}

// unmark takes our marks off what the offer has in the cluster.
func (w *workspace) unmark(ctx context.Context, in plan.Input, k offer.Key) error {
	for _, s := range w.accepted().Specs {
		if s.Offer != k || s.ID.Home() != resource.Cluster || s.ID.Kind == resource.Namespace {
			continue
		}
		seen := in.World.Seen[s.ID]
		if seen.Presence == resource.Unknown {
			return fmt.Errorf("%s could not be seen, and is not forgotten: %s", s.ID, seen.Why)
		}
		obj := seen.Object
		if obj == nil || obj.Label(resource.SiteLabel) != in.Site {
			continue
		}
		terms := resource.Terms{UID: obj.UID, ResourceVersion: obj.ResourceVersion, Unmark: true}
		if _, err := w.kube.Maker(in.Site).Put(ctx, s, terms); err != nil {
			return fmt.Errorf("%s: %w", s.ID, err)
		}
	}
	if g := in.World.Seen[gatewayID(k)]; g.Presence == resource.Present {
		w.say("The gateway of %s goes on as process %d; nothing restarts it any more.", w.addressOf(k), g.Gateway.Identity.PID)
	}
	return nil
}
