package main

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/proc"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// gatewayEndedCommand notes how a gateway ended; its unit runs it. The manager
// waits for that, so it does nothing else; whether it succeeds changes nothing.
func gatewayEndedCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "ended", Usage: "note how a unit's gateway ended",
		Description: "Gateways' units run it with what systemd knows then: SERVICE_RESULT, EXIT_CODE and EXIT_STATUS.\n\nExit codes: 0, noted or not.",
		Flags:       []cli.Flag{&cli.StringFlag{Name: "unit", Required: true, Usage: "the gateway that `SITE:NAMESPACE:NAME` means"}},
		Action: func(c *cli.Context) error {
			unit := c.String("unit")
			config, err := unitConfig(optionsOf(c, p).stateDir, unit)
			if err != nil {
				return err
			}
			proc.NoteEnd(filepath.Dir(config), unit, p.getenv)
			return nil
		},
	}
}

// crashes gives the crashes that the history does not tell yet, of gateways that
// systemd has started again since. Of several in a row only the last is known.
func (r *execution) crashes() ([]state.Event, error) {
	var events []state.Event
	for id, seen := range r.in.World.Seen {
		if e, crashed := crashOf(id, seen); crashed {
			e.Address = r.w.named(e.Offer)
			events = append(events, e)
		}
	}
	if len(events) == 0 {
		return nil, nil
	}
	told, err := r.w.site.History(time.Time{})
	if err != nil {
		return nil, err
	}
	events = slices.DeleteFunc(events, func(e state.Event) bool { return isTold(e, told) })
	slices.SortFunc(events, func(a, b state.Event) int { return a.Offer.Compare(b.Offer) })
	return events, nil
}

// crashOf tells of the crash after which systemd started a gateway again.
func crashOf(id resource.ID, seen resource.Sighting) (state.Event, bool) {
	g := seen.Gateway
	if id.Kind != resource.GatewayKind || seen.Presence != resource.Present || !g.Answering || g.Supervisor != resource.Systemd || g.Config == nil || g.Last == nil {
		return state.Event{}, false
	}
	if g.Last.Signal == "" && (g.Last.Code == exitOK || g.Last.Code == exitMustStop) {
		return state.Event{}, false
	}
	return state.Event{At: g.Last.At, Kind: state.EventCrashed, Offer: g.Config.Offer, By: g.Supervisor, Text: "it ended with " + proc.Ended(*g.Last) + ", and was started again"}, true
}

// isTold reports whether the history has a crash of the offer that is as late, or
// begins only after this one.
func isTold(e state.Event, told []state.Event) bool {
	return len(told) > 0 && e.At.Before(told[0].At) || slices.ContainsFunc(told, func(old state.Event) bool {
		return old.Kind == e.Kind && old.Offer == e.Offer && !old.At.Before(e.At)
	})
}
