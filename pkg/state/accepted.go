package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// keep is how many accepted sets are kept.
const keep = 10

const acceptedDir = "accepted"

// An Entry tells of one accepted set that is kept.
type Entry struct {
	Number int
	By     string
	At     time.Time
	Source plan.Source
	Offers int
}

// Accepted reads the accepted set with that number. Sets that are not kept any
// more give an error that wraps [fs.ErrNotExist].
func (s *Site) Accepted(number int) (plan.Accepted, error) {
	path := s.acceptedPath(number)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return plan.Accepted{}, fmt.Errorf("no accepted set %d is kept: %w", number, fs.ErrNotExist)
	}
	if err != nil {
		return plan.Accepted{}, fmt.Errorf("cannot read state: %w", err)
	}
	a, err := decodeAccepted(path, data)
	if err != nil {
		return plan.Accepted{}, err
	}
	if a.Number != number {
		return plan.Accepted{}, damaged(path, fmt.Errorf("it says that it is number %d", a.Number))
	}
	return a, nil
}

// List tells of the accepted sets that are kept, the oldest first.
func (s *Site) List() ([]Entry, error) {
	numbers, err := s.numbers()
	if err != nil {
		return nil, err
	}
	var out []Entry
	for _, n := range numbers {
		a, err := s.Accepted(n)
		if err != nil {
			return out, err
		}
		out = append(out, Entry{a.Number, a.By, a.At, a.Set.Source, len(a.Set.Offers)})
	}
	return out, nil
}

// Accept remembers what a person agreed to, and gives it the number that it
// returns: a.Number does not count. A set that means the same as the newest one
// and comes from the same place is not written again; the number is then that
// of the newest.
func (t *Tx) Accept(a plan.Accepted) (number int, err error) {
	if err := t.held(); err != nil {
		return 0, err
	}
	newest, err := t.site.newest()
	if err != nil {
		return 0, err
	}
	if newest != nil {
		same, err := sameSet(newest.Set, a.Set)
		if err != nil {
			return 0, err
		}
		if same {
			return newest.Number, nil
		}
		a.Number = newest.Number
	} else {
		a.Number = 0
	}
	a.Number++
	if err := t.makeRoom(); err != nil {
		return 0, err
	}
	data, err := encodeAccepted(a)
	if err != nil {
		return 0, err
	}
	if err := durable.WriteFile(t.site.acceptedPath(a.Number), data, fileMode); err != nil {
		return 0, err
	}
	return a.Number, nil
}

// makeRoom removes the oldest accepted sets, until one more may be kept.
func (t *Tx) makeRoom() error {
	if err := durable.MkdirAll(t.site.path(acceptedDir), folderMode); err != nil {
		return err
	}
	numbers, err := t.site.numbers()
	if err != nil {
		return err
	}
	for len(numbers) >= keep {
		if err := durable.Remove(t.site.acceptedPath(numbers[0])); err != nil {
			return err
		}
		numbers = numbers[1:]
	}
	return nil
}

// newest reads the accepted set in force; nil when nothing was accepted.
func (s *Site) newest() (*plan.Accepted, error) {
	numbers, err := s.numbers()
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	a, err := s.Accepted(numbers[len(numbers)-1])
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// numbers lists the accepted sets that are kept, in order.
func (s *Site) numbers() ([]int, error) {
	entries, err := os.ReadDir(s.path(acceptedDir))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cannot read accepted sets: %w", err)
	}
	var out []int
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.Atoi(text); ok && err == nil && n > 0 && e.Name() == acceptedName(n) {
			out = append(out, n)
		}
	}
	slices.SortFunc(out, cmp.Compare[int])
	return out, nil
}

func acceptedName(number int) string { return fmt.Sprintf("%06d.json", number) }

func (s *Site) acceptedPath(number int) string { return s.path(acceptedDir, acceptedName(number)) }

// sameSet reports whether two sets mean the same and were declared in the same
// place. The lines of declarations, the bytes around them and the commit do not
// count.
func sameSet(a, b plan.Set) (bool, error) {
	x, err := json.Marshal(bare(a))
	if err != nil {
		return false, fmt.Errorf("cannot encode the accepted set: %w", err)
	}
	y, err := json.Marshal(bare(b))
	if err != nil {
		return false, fmt.Errorf("cannot encode the declared set: %w", err)
	}
	return string(x) == string(y), nil
}

// bare is the set without what does not count, sharing nothing with it that it
// changes.
func bare(s plan.Set) plan.Set {
	out := s
	out.Source = plan.Source{Path: s.Source.Path, GitRemote: s.Source.GitRemote, GitPath: s.Source.GitPath}
	out.Offers, out.Specs, out.Tombstones, out.Waiting = nil, nil, nil, nil
	for _, o := range s.Offers {
		o.At = offer.Source{}
		if o.Drain != nil {
			d := *o.Drain
			d.At = offer.Source{}
			o.Drain = &d
		}
		out.Offers = append(out.Offers, o)
	}
	for _, spec := range s.Specs {
		spec.At = offer.Source{}
		out.Specs = append(out.Specs, spec)
	}
	for _, d := range s.Tombstones {
		d.At = offer.Source{}
		out.Tombstones = append(out.Tombstones, d)
	}
	for _, w := range s.Waiting {
		w.At = offer.Source{}
		out.Waiting = append(out.Waiting, w)
	}
	return out
}
