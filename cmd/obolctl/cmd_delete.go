package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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

// An original is an edited file, as it was.
type original struct {
	path string
	data []byte
	perm fs.FileMode
}

// edit writes an edit, and gives what stood there before.
func edit(e offerfile.Edit) (original, error) {
	path, err := filepath.EvalSymlinks(e.Path)
	if err != nil {
		return original{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return original{}, err
	}
	perm, err := overwrite(path, e.Data)
	return original{path, data, perm}, err
}

// overwrite gives a file of the operator's another content, where it really
// lies, and keeps its permissions.
func overwrite(path string, data []byte) (fs.FileMode, error) {
	path, err := filepath.EvalSymlinks(path)
	if err != nil {
		return 0, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return info.Mode().Perm(), durable.WriteFile(path, data, info.Mode().Perm())
}

// back puts files back as they were, the last one first.
func back(was []original) error {
	var errs error
	for _, o := range slices.Backward(was) {
		errs = errors.Join(errs, durable.WriteFile(o.path, o.data, o.perm))
	}
	return errs
}

// deleted reports whether the site remembers that the offer is deleted.
func (w *workspace) deleted(k offer.Key) (bool, error) {
	m, err := w.site.Memory()
	_, dead := m.Marks.Tombstone(k)
	return dead, err
}

// delete puts tombstones into the file, and applies that. When it did not come
// to an agreement, the file is put back as it was.
func (w *workspace) delete(c *cli.Context, r request) error {
	keys, err := w.targets(c.Args().Slice())
	if err != nil {
		return err
	}
	if err := w.sameHolder(w.takesOver(r)); err != nil {
		return err
	}
	if err := w.canAgree(r, nil); err != nil {
		return err
	}
	if err := w.clean(); err != nil {
		return err
	}
	r.policy.Targets = keys
	r.agreement = plan.Agreement{By: w.user(), Deletes: offer.FromCommand, Blocks: map[offer.Key]string{}}
	var was []original
	again := w
	for _, address := range c.Args().Slice() {
		o, err := again.bury(address, c.String("reason"), r.agreement.Blocks)
		if err != nil {
			return errors.Join(err, back(was))
		}
		was = append(was, o)
		if again, err = openFile(c.Context, c, w.process); err != nil {
			return errors.Join(err, back(was))
		}
	}
	err = again.apply(c.Context, r)
	if dead, merr := w.deleted(keys[0]); merr != nil || dead {
		return errors.Join(err, merr)
	}
	return errors.Join(err, back(was))
}

// bury writes a tombstone into the file in place of each offer at an address. It
// gives the file as it was, and adds the text that it took out to blocks.
func (w *workspace) bury(address, reason string, blocks map[offer.Key]string) (original, error) {
	keys, err := w.find(address)
	if err != nil {
		return original{}, err
	}
	for _, k := range keys {
		if indexOf(w.want.Offers, k) < 0 {
			return original{}, fmt.Errorf("%s is not declared in %s: there is nothing to delete", w.addressOf(k), w.files[0])
		}
	}
	a, err := offer.ParseAddress(address)
	if err != nil {
		return original{}, err
	}
	e, err := w.file.ReplaceWithTombstone(a, reason)
	if err != nil {
		return original{}, err
	}
	if e.Data == nil {
		return original{}, fmt.Errorf("%s:%d is a for_each, which only you can edit:\n\n  %s\n\n%s:\n\n%s\n\nThen: obolctl apply",
			e.ByHand.At.File, e.ByHand.At.Line, e.ByHand.Was, strings.TrimSuffix(e.ByHand.Advice, "."), e.ByHand.Tombstone)
	}
	for _, k := range keys {
		blocks[k] = e.Removed
	}
	return edit(e)
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

// undelete puts an offer back into the file where its tombstone stands, and
// applies that. When it did not come to an agreement, the file is put back.
func (w *workspace) undelete(c *cli.Context, r request) error {
	keys, err := w.targets(c.Args().Slice())
	if err != nil {
		return w.notDeleted(err)
	}
	if len(keys) > 1 {
		return misuse("%s means %d offers: undelete them one by one", c.Args().First(), len(keys))
	}
	if err := w.sameHolder(w.takesOver(r)); err != nil {
		return err
	}
	if err := w.canAgree(r, nil); err != nil {
		return err
	}
	if err := w.clean(); err != nil {
		return err
	}
	tomb, marked := w.memory.Marks.Tombstone(keys[0])
	var was []original
	if w.buried(keys[0]) {
		if !marked || tomb.Block == "" {
			return fmt.Errorf("the text of %s is not known here any more: put its block back into %s where its tombstone stands, and apply", c.Args().First(), w.files[0])
		}
		e, err := w.file.RemoveTombstone(keys[0], tomb.Block)
		if err != nil {
			return err
		}
		o, err := edit(e)
		if err != nil {
			return err
		}
		was = append(was, o)
	} else if !marked {
		return fmt.Errorf("%s was not deleted here", c.Args().First())
	}
	err = w.revive(c, r, keys[0])
	if dead, merr := w.deleted(keys[0]); merr != nil || !dead {
		return errors.Join(err, merr)
	}
	return errors.Join(err, back(was))
}

// notDeleted makes of an address that means nothing here one that means none of
// the deleted offers, which are what was asked for.
func (w *workspace) notDeleted(err error) error {
	var names []string
	for _, t := range w.memory.Marks.Tombstones {
		names = append(names, t.Address.String())
	}
	if len(names) == 0 {
		return misuse("%v; none is deleted", err)
	}
	slices.Sort(names)
	text, _, _ := strings.Cut(err.Error(), "; there are: ")
	return misuse("%s; deleted are: %s", text, strings.Join(names, ", "))
}

// revive applies the file, in which a deleted offer is declared again.
func (w *workspace) revive(c *cli.Context, r request, k offer.Key) error {
	again, err := openFile(c.Context, c, w.process)
	if err != nil {
		return err
	}
	if indexOf(again.want.Offers, k) < 0 {
		return fmt.Errorf("%s is not declared: put its block back into %s, and apply", c.Args().First(), w.files[0])
	}
	if tomb, _ := again.memory.Marks.Tombstone(k); tomb.Origin == offer.FromCommand { // typed away, and typed back
		tomb.Origin = offer.FromFile
		if err := again.locked(c.Context, "undelete", func(tx *state.Tx) error { return tx.SetMarks(again.memory.Marks.WithTombstone(tomb)) }); err != nil {
			return err
		}
	}
	r.policy.Targets, r.agreement.By = []offer.Key{k}, w.user()
	r.policy.Approve[plan.Revive] = true
	return again.apply(c.Context, r)
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
