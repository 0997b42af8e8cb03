package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/offerfile"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/state"
)

func deleteCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "delete", Usage: "remove an offer for good: from file, cluster and this host", ArgsUsage: "ADDRESS…",
		Description: "Writes a tombstone into the file in place of the offer, then plans and asks as apply does. When nobody agrees, the file is put back. " +
			"To take a delete back: obolctl undelete ADDRESS.\n\n" +
			"Examples:\n   obolctl delete http.old-weather --reason \"replaced by weather\"\n   obolctl delete http.old-weather --auto-approve\n\n" +
			"Exit codes: 0 deleted; 1 something failed; 2 done, something is withheld; 4 it changed while you read; 5 locked.",
		Flags: append(applyFlags(), &cli.StringFlag{Name: "reason", Usage: "for the record"}),
		Action: func(c *cli.Context) error {
			if !c.Args().Present() {
				return misuse("say which offer")
			}
			r, err := requestOf(c, "delete")
			if err != nil {
				return err
			}
			w, err := openFile(c.Context, c, p)
			if err != nil {
				return err
			}
			return w.delete(c, r)
		},
	}
}

// An edited file, as it was.
type original struct {
	path string
	data []byte
	perm os.FileMode
}

// edit writes an edit, and gives what stood there before.
func edit(e offerfile.Edit) (original, error) {
	info, err := os.Stat(e.Path)
	if err != nil {
		return original{}, err
	}
	data, err := os.ReadFile(e.Path)
	if err != nil {
		return original{}, err
	}
	return original{e.Path, data, info.Mode().Perm()}, durable.WriteFile(e.Path, e.Data, info.Mode().Perm())
}

// back puts a file back as it was, when nothing was agreed to.
func (o original) back(err error) error {
	if o.path == "" || !errors.Is(err, errDeclined) {
		return err
	}
	return errors.Join(err, durable.WriteFile(o.path, o.data, o.perm))
}

func (w *workspace) delete(c *cli.Context, r request) error {
	keys, err := w.targets(c.Args().Slice())
	if err != nil {
		return err
	}
	if len(keys) > 1 {
		return misuse("%s means %d offers: delete them one by one", c.Args().First(), len(keys))
	}
	i := indexOf(w.want.Offers, keys[0])
	if i < 0 {
		return fmt.Errorf("%s is not declared in %s: there is nothing to delete", c.Args().First(), w.files[0])
	}
	e, err := w.file.ReplaceWithTombstone(w.want.Offers[i].Address, c.String("reason"))
	if err != nil {
		return err
	}
	if e.Data == nil {
		return fmt.Errorf("%s:%d is a for_each, which only you can edit:\n\n  %s\n\n%s. Then add:\n\n%s\n\nand apply",
			e.ByHand.At.File, e.ByHand.At.Line, e.ByHand.Was, e.ByHand.Advice, e.ByHand.Tombstone)
	}
	was, err := edit(e)
	if err != nil {
		return err
	}
	again, err := openFile(c.Context, c, w.process)
	if err != nil {
		return errors.Join(err, durable.WriteFile(was.path, was.data, was.perm))
	}
	r.policy.Targets = keys
	r.agreement = plan.Agreement{By: w.user(), Deletes: offer.FromCommand, Blocks: map[offer.Key]string{keys[0]: e.Removed}}
	return was.back(again.apply(c.Context, r))
}

func indexOf(offers []offer.Offer, k offer.Key) int {
	for i, o := range offers {
		if o.Key() == k {
			return i
		}
	}
	return -1
}

func undeleteCommand(p process) *cli.Command {
	return &cli.Command{
		Name: "undelete", Usage: "take a delete back", ArgsUsage: "ADDRESS",
		Description: "Puts the offer's block back into the file where its tombstone stands, then plans and asks as apply does.\n\n" +
			"Example:\n   obolctl undelete http.old-weather\n\n" +
			"Exit codes: 0 it sells again; 1 something failed; 2 done, something is withheld or not selling yet; 4 it changed while you read; 5 locked.",
		Flags: applyFlags(),
		Action: func(c *cli.Context) error {
			if c.NArg() != 1 {
				return misuse("say which offer")
			}
			r, err := requestOf(c, "undelete")
			if err != nil {
				return err
			}
			w, err := openFile(c.Context, c, p)
			if err != nil {
				return err
			}
			return w.undelete(c, r)
		},
	}
}

func (w *workspace) undelete(c *cli.Context, r request) error {
	keys, err := w.targets(c.Args().Slice())
	if err != nil {
		return err
	}
	tomb, marked := w.memory.Marks.Tombstone(keys[0])
	var was original
	if w.buried(keys[0]) {
		if !marked || tomb.Block == "" {
			return fmt.Errorf("the text of %s is not known here any more: put its block back into %s where its tombstone stands, and apply", c.Args().First(), w.files[0])
		}
		e, err := w.file.RemoveTombstone(keys[0], tomb.Block)
		if err != nil {
			return err
		}
		if was, err = edit(e); err != nil {
			return err
		}
	} else if !marked {
		return fmt.Errorf("%s was not deleted here", c.Args().First())
	}
	again, err := openFile(c.Context, c, w.process)
	if err != nil {
		return errors.Join(err, was.back(errDeclined))
	}
	if indexOf(again.want.Offers, keys[0]) < 0 {
		return fmt.Errorf("%s is not declared: put its block back into %s, and apply", c.Args().First(), w.files[0])
	}
	if tomb.Origin == offer.FromCommand { // typed away, and typed back
		tomb.Origin = offer.FromFile
		if err := again.locked(c.Context, "undelete", func(tx *state.Tx) error { return tx.SetMarks(again.memory.Marks.WithTombstone(tomb)) }); err != nil {
			return err
		}
	}
	r.policy.Targets, r.agreement.By = keys, w.user()
	r.policy.Approve[plan.Revive] = true
	return was.back(again.apply(c.Context, r))
}

// buried reports whether the file has a tombstone of the offer.
func (w *workspace) buried(k offer.Key) bool {
	for _, t := range w.file.Tombstones {
		if t.Key.SameName(k) {
			return true
		}
	}
	return false
}
