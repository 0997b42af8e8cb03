package plan

import (
	"cmp"
	"maps"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A slot is what holds at most one offer: a namespace and name is one object in
// the cluster, whatever the offer's type.
type slot struct{ namespace, name string }

func slotOf(k offer.Key) slot { return slot{k.Namespace, k.Name} }

func (s slot) compare(t slot) int {
	return cmp.Or(cmp.Compare(s.namespace, t.namespace), cmp.Compare(s.name, t.name))
}

func (s slot) id(kind string) resource.ID {
	return resource.ID{Kind: kind, Namespace: s.namespace, Name: s.name}
}

// A subject is one slot with all that is declared, accepted and remembered of it.
type subject struct {
	slot
	slotMarks
	key      offer.Key
	address  offer.Address
	declared *offer.Offer
	accepted *offer.Offer
	want     []resource.Spec               // declared, in order
	was      map[resource.ID]resource.Spec // accepted
	buried   *offer.TombstoneDecl          // declared
}

// slotMarks are the marks of one slot; nil where there is none.
type slotMarks struct {
	tomb  *offer.Tombstone
	drain *offer.Drain
	money []offer.MoneyDecision
	moved *offer.Moved
	gone  *offer.LiveDeletion
}

// addTo adds them to marks. Slots that come in order leave the marks sorted.
func (m slotMarks) addTo(marks *offer.Marks) {
	if m.tomb != nil {
		marks.Tombstones = append(marks.Tombstones, *m.tomb)
	}
	if m.drain != nil {
		marks.Drains = append(marks.Drains, *m.drain)
	}
	marks.Money = append(marks.Money, m.money...)
	if m.moved != nil {
		marks.Moved = append(marks.Moved, *m.moved)
	}
	if m.gone != nil {
		marks.Deleted = append(marks.Deleted, *m.gone)
	}
}

// offer gives the offer as declared, else as accepted, else nil.
func (s *subject) offer() *offer.Offer {
	if s.declared != nil {
		return s.declared
	}
	return s.accepted
}

// unaccepted reports whether the file says of the slot what nobody agreed to yet.
func (s *subject) unaccepted() bool {
	switch {
	case s.buried != nil:
		return s.tomb == nil
	case s.declared == nil:
		return false
	}
	return s.accepted == nil || s.declared.Address != s.accepted.Address || !s.declared.Same(*s.accepted)
}

// subjects gathers all slots that anything is known of, sorted.
func subjects(in Input) []*subject {
	all := map[slot]*subject{}
	at := func(k offer.Key) *subject {
		s, ok := all[slotOf(k)]
		if !ok {
			s = &subject{slot: slotOf(k), key: k}
			all[s.slot] = s
		}
		return s
	}
	for _, id := range in.World.Cluster.Others {
		if seen := in.World.Seen[id].Object; seen != nil && seen.Label(resource.SiteLabel) == in.Site {
			s := at(offer.Key{Type: liveType(seen), Namespace: id.Namespace, Name: id.Name})
			_ = s.address.UnmarshalText([]byte(seen.Annotation(resource.AddressAnnotation))) // no address is no harm
		}
	}
	for _, id := range in.World.Host.Strays {
		at(offer.Key{Namespace: id.Namespace, Name: id.Name})
	}
	addMarks(in.Memory.Marks, at)
	if acc := in.Memory.Accepted; acc != nil {
		addSet(&acc.Set, at, func(s *subject, o *offer.Offer) { s.accepted = o }, func(s *subject, spec resource.Spec) { s.accept(spec) })
		if in.Want == nil {
			in.Want = &acc.Set
		}
	}
	if in.Want != nil {
		addSet(in.Want, at, func(s *subject, o *offer.Offer) { s.declared = o }, func(s *subject, spec resource.Spec) { s.want = append(s.want, spec) })
		for i := range in.Want.Tombstones {
			t := &in.Want.Tombstones[i]
			at(t.Key).buried = t
		}
	}
	return slices.SortedFunc(maps.Values(all), func(a, b *subject) int { return a.compare(b.slot) })
}

func addMarks(m offer.Marks, at func(offer.Key) *subject) {
	for i := range m.Tombstones {
		t := &m.Tombstones[i]
		s := at(t.Key)
		s.tomb, s.address = t, t.Address
	}
	for i := range m.Drains {
		at(m.Drains[i].Key).drain = &m.Drains[i]
	}
	for _, d := range m.Money {
		s := at(d.Key)
		s.money = append(s.money, d)
	}
	for i := range m.Moved {
		at(m.Moved[i].Key).moved = &m.Moved[i]
	}
	for i := range m.Deleted {
		at(m.Deleted[i].Key).gone = &m.Deleted[i]
	}
}

func (s *subject) accept(spec resource.Spec) {
	if s.was == nil {
		s.was = make(map[resource.ID]resource.Spec, 5)
	}
	s.was[spec.ID] = spec
}

func addSet(set *Set, at func(offer.Key) *subject, give func(*subject, *offer.Offer), add func(*subject, resource.Spec)) {
	for i := range set.Offers {
		o := &set.Offers[i]
		s := at(o.Key())
		s.key, s.address = o.Key(), o.Address
		give(s, o)
	}
	for _, spec := range set.Specs {
		add(at(spec.Offer), spec)
	}
}

// liveType gives the type of a live ServiceOffer.
func liveType(o *resource.Object) offer.Type {
	t, _ := resource.Lookup(o.Content, "spec.type")
	s, _ := t.(string)
	return offer.Type(s)
}
