package main

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/state"
	"github.com/obolctl/obolctl/pkg/view"
)

func historyCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "history", Usage: "accepted sets, restores, drains, deletes, crashes and decisions", ArgsUsage: "[ADDRESS]",
		Description: "Accepted sets are numbered, and the last ten are kept: \"obolctl apply --accepted N\" plans back to one.\n\nExamples:\n   obolctl history\n   obolctl history inference.qwen --since 24h\n\nExit codes: 0; 1 the state cannot be read.",
		Flags:       []cli.Flag{&cli.DurationFlag{Name: "since", Usage: "only the last `DURATION`"}},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return misuse("history takes one address at most")
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			var keys []offer.Key
			if c.Args().Present() {
				if keys, err = w.targets(c.Args().Slice()); err != nil {
					return err
				}
			}
			var since time.Time
			if d := c.Duration("since"); d > 0 {
				since = time.Now().Add(-d)
			}
			entries, err := w.history(keys, since)
			if err != nil {
				return err
			}
			if w.json {
				return view.HistoryJSON(w.stdout, w.site.Name(), entries)
			}
			style := w.style(p)
			style.Now = time.Now()
			return view.History(w.stdout, entries, style)
		},
	}
}

// history merges the events with what is known of the accepted sets.
func (w *workspace) history(keys []offer.Key, since time.Time) ([]view.Entry, error) {
	events, err := w.site.History(since)
	if err != nil {
		return nil, err
	}
	sets, err := w.site.List()
	if err != nil {
		return nil, err
	}
	from := map[int]plan.Source{}
	for _, s := range sets {
		from[s.Number] = s.Source
	}
	var out []view.Entry
	for _, e := range events {
		if keys != nil && !slices.ContainsFunc(keys, e.Offer.SameName) {
			continue
		}
		out = append(out, view.Entry{Time: e.At, Event: string(e.Kind), Number: e.Number, Address: e.Address.String(), By: e.By, Commit: from[e.Number].GitCommit, Dirty: from[e.Number].GitDirty, Text: e.Text})
	}
	slices.SortStableFunc(out, func(a, b view.Entry) int { return cmp.Or(a.Time.Compare(b.Time), cmp.Compare(a.Number, b.Number)) })
	return out, nil
}

func stateCommand(p process) *cli.Command {
	show := &cli.Command{
		Name: "show", Usage: "what the site remembers",
		Description: "Example:\n   obolctl state show\n\nExit codes: 0; 1 the state cannot be read.",
		Action: func(c *cli.Context) error {
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			if w.json {
				return view.StateJSON(w.stdout, w.site.Dir(), w.memory)
			}
			style := w.style(p)
			style.Now = time.Now()
			return view.State(w.stdout, w.site.Dir(), w.memory, style)
		},
	}
	path := &cli.Command{
		Name: "path", Usage: "the folder it is kept in",
		Description: "Example:\n   obolctl state path\n\nExit codes: 0; 1 the state cannot be read.",
		Action: func(c *cli.Context) error {
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			return w.answer(w.site.Dir()+"\n", map[string]any{"site": w.site.Name(), "folder": w.site.Dir()})
		},
	}
	unlock := &cli.Command{
		Name: "unlock", Usage: "say who holds the lock",
		Description: "The lock of a process that died is free by itself, so there is never one to break: this names the process that holds it.\n\n" +
			"Example:\n   obolctl state unlock\n\nExit codes: 0 it is free; 1 it is held, or the state cannot be read.",
		Action: func(c *cli.Context) error {
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			claim, locked, err := w.site.LockedBy()
			if err != nil {
				return err
			}
			if !locked {
				return w.answer("The lock is free.\n", map[string]any{"locked": false})
			}
			return fmt.Errorf("%v: let it finish, or end it", &state.LockedError{Site: w.site.Name(), Claim: claim})
		},
	}
	return &cli.Command{Name: "state", Usage: "the site's memory", Subcommands: []*cli.Command{show, path, unlock}}
}

func versionCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "version", Usage: "the version of this build", Description: "Example:\n   obolctl version\n\nExit codes: 0.",
		Action: func(c *cli.Context) error {
			w := &workspace{process: p, options: optionsOf(c, p)}
			return w.answer("obolctl "+version+"\n", map[string]any{"version": version})
		},
	}
}

func destroyCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "destroy", Usage: "remove everything of this site, units too, and say what remains",
		Description: "Plans and asks as apply does; the number of offers is to be typed. Tombstones are kept, so that nothing comes back.\n\n" +
			"Examples:\n   obolctl destroy\n   obolctl destroy --auto-approve --approve-deletes 3\n\nExit codes: 0; 1 something failed; 2 something is withheld; 5 locked.",
		Flags: applyFlags(),
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return misuse("destroy takes no argument; name the site with --site")
			}
			r, err := requestOf(c, "destroy")
			if err != nil {
				return err
			}
			w, err := openSite(c, p)
			if err != nil {
				return err
			}
			if w.accepted() == nil {
				return fmt.Errorf("nothing accepted here: there is nothing to destroy")
			}
			w.want = &plan.Set{Source: w.accepted().Source}
			r.policy.Destroy = true
			r.agreement = plan.Agreement{By: p.user(), Deletes: offer.FromFile, Reason: "the site was destroyed"}
			if err := w.apply(c.Context, r); err != nil {
				return err
			}
			if err := w.uninstallWithSite(c.Context); err != nil {
				return err
			}
			w.tellRemains()
			return nil
		},
	}
}

// tellRemains says what destroy leaves alone.
func (w *workspace) tellRemains() {
	inCluster := ""
	if w.memory.ClusterUID != "" {
		inCluster = "namespaces, which others may use; the ConfigMap default/" + w.serialName() + "; and "
	}
	w.say("What remains: %sthe state in %s, whose tombstones keep the offers deleted. To forget those too, remove that folder.", inCluster, w.site.Dir())
}

func forgetCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "forget", Usage: "take our marks off offers, and leave the offers", ArgsUsage: "ADDRESS…|--all",
		Description: "The objects stay as they are, and so do gateways that run; nothing restarts those any more. Taking them on again is a take-over, which apply asks about.\n\n" +
			"Examples:\n   obolctl forget http.weather\n   obolctl forget --all\n\nExit codes: 0; 1 something could not be seen or written, and is kept; 5 locked.",
		Flags: []cli.Flag{&cli.BoolFlag{Name: "all", Usage: "all offers of the site"}},
		Action: func(c *cli.Context) error {
			w, keys, err := openOffers(c, p)
			if err != nil {
				return err
			}
			return w.locked(c.Context, "forget", func(tx *state.Tx) error { return w.forget(c.Context, tx, keys) })
		},
	}
}
