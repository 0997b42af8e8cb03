package state

import (
	"bytes"
	"maps"
	"slices"

	"github.com/obolctl/obolctl/pkg/durable"
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// Facts are what a run learned and the site is to remember. A zero field
// changes nothing.
type Facts struct {
	Holder   string
	Cluster  Cluster
	BootID   string
	Converge plan.Run

	Made map[resource.ID]string // the UIDs of cluster objects that are there as ours
	Gone []resource.ID          // cluster objects of which a reachable cluster said that they are not

	Finished []resource.ID // what is as it should be, whatever a run left unfinished
}

// Record remembers facts, in one write; in none when they are known already.
func (t *Tx) Record(f Facts) error {
	if err := t.held(); err != nil {
		return err
	}
	rec := t.rec.clone()
	if f.Holder != "" {
		rec.Holder = f.Holder
	}
	if f.Cluster != (Cluster{}) {
		rec.Cluster = f.Cluster
	}
	if f.BootID != "" {
		rec.BootID = f.BootID
	}
	if !f.Converge.At.IsZero() {
		rec.LastConverge = converged(f.Converge)
	}
	for _, id := range f.Gone {
		delete(rec.Made, name(id))
	}
	for id, uid := range f.Made {
		rec.Made[name(id)] = uid
	}
	rec.Unfinished = slices.DeleteFunc(rec.Unfinished, func(id name) bool { return slices.Contains(f.Finished, resource.ID(id)) })
	return t.save(rec)
}

// SetMarks replaces the marks, in one write; in none when they are the same.
// Marks that cannot be read are not replaced.
func (t *Tx) SetMarks(marks offer.Marks) error {
	if err := t.held(); err != nil {
		return err
	}
	old, err := t.site.marks()
	if err != nil {
		return err
	}
	before, err := old.Encode()
	if err != nil {
		return err
	}
	after, err := marks.Encode()
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		return nil
	}
	return t.site.full(durable.WriteFile(t.site.path(marksFile), after, fileMode))
}

// save writes a record, unless nothing in it is new.
func (t *Tx) save(rec record) error {
	before, err := encode(t.rec)
	if err != nil {
		return err
	}
	after, err := encode(rec)
	if err != nil {
		return err
	}
	if bytes.Equal(before, after) {
		return nil
	}
	if err := durable.WriteFile(t.site.path(siteFile), after, fileMode); err != nil {
		return err
	}
	t.rec = rec
	return nil
}

// clone shares nothing with r. Its Made can be written to.
func (r record) clone() record {
	r.Made = maps.Clone(r.Made)
	if r.Made == nil {
		r.Made = map[name]string{}
	}
	r.Unfinished = slices.Clone(r.Unfinished)
	return r
}
