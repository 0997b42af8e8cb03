package offerfile

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A spot is a namespace and name, which is one object whatever its type.
type spot struct{ namespace, name string }

func spotOf(k offer.Key) spot { return spot{k.Namespace, k.Name} }

// compare holds the offers against each other and against the tombstones.
func (l *loader) compare() {
	names, paths, hosts := map[spot]*draft{}, map[string]*draft{}, map[string]*draft{}
	ports := map[int]*draft{}
	for _, d := range l.inOrder() {
		if d.named {
			if first := taken(names, spotOf(d.Key()), d); first != nil {
				d.r.fail(d.s.at("name"), "Two offers with one name", l.sameName(d, first))
			}
		}
		if d.Path != "" && !d.Standalone {
			if first := taken(paths, strings.TrimSuffix(d.Path, "/"), d); first != nil && !sameSpot(d, first) {
				d.r.fail(d.s.at("path"), "Two offers with one path", fmt.Sprintf("%s has the path %s already (%s), and the older of the two would win. Give one another path.", first.Address, d.Path, where(first.s.def)))
			}
		}
		if d.Hostname != "" && !d.Standalone {
			if first := taken(hosts, d.Hostname, d); first != nil && !sameSpot(d, first) {
				d.r.fail(d.s.at("hostname"), "Two offers with one hostname", fmt.Sprintf("%s has the hostname %s already (%s), and the older of the two would win. Give one another hostname.", first.Address, d.Hostname, where(first.s.def)))
			}
		}
		if d.Gateway.Declared {
			if first := taken(ports, d.Gateway.Port, d); first != nil && !sameSpot(d, first) {
				d.r.fail(d.s.block("gateway").at("listen"), "Two gateways on one port", fmt.Sprintf("The gateway of %s listens on port %d already (%s). Give one another port, or leave listen out: a free port is found and remembered.", first.Address, d.Gateway.Port, where(first.s.def)))
			}
		}
	}
	l.compareTombstones(names)
}

// inOrder gives the drafts as they stand in the files, so that the later of
// two that clash is reported.
func (l *loader) inOrder() []*draft {
	out := slices.Clone(l.drafts)
	slices.SortStableFunc(out, func(a, b *draft) int {
		if a.s.def.Filename != b.s.def.Filename {
			return l.log.order[a.s.def.Filename] - l.log.order[b.s.def.Filename]
		}
		return a.s.def.Start.Byte - b.s.def.Start.Byte
	})
	return out
}

// taken gives who has k already, or nil, and then d has it.
func taken[K comparable](by map[K]*draft, k K, d *draft) *draft {
	if first := by[k]; first != nil {
		return first
	}
	by[k] = d
	return nil
}

// sameSpot reports whether two drafts were reported for their name already:
// all else of them clashes too.
func sameSpot(a, b *draft) bool { return a.named && b.named && spotOf(a.Key()) == spotOf(b.Key()) }

func (l *loader) sameName(d, first *draft) string {
	if d.Address.Keyed && d.Address.Type == first.Address.Type && d.Address.Label == first.Address.Label {
		return fmt.Sprintf("%s and %s are both named %q in namespace %q. With for_each the name has to differ for each key: name = \"%s-${each.key}\".", first.Address, d.Address, d.Name, d.Namespace, d.Address.Label)
	}
	return fmt.Sprintf("%s is named %q in namespace %q already (%s), and the cluster holds one offer of that name whatever its type. Rename one: name = \"…\".", first.Address, d.Name, d.Namespace, where(first.s.def))
}

func (l *loader) compareTombstones(names map[spot]*draft) {
	for _, t := range l.file.Tombstones {
		d := names[spotOf(t.Key)]
		if d == nil {
			continue
		}
		d.r.fail(d.s.at("name"), "Offer under a tombstone", fmt.Sprintf("The tombstone at %s:%d keeps %s from coming back. Take the tombstone out to sell it again (obolctl undelete %s), or this block to keep it deleted.", t.At.File, t.At.Line, t.Key, d.Address))
	}
}

// readTombstones reads the tombstone blocks.
func (l *loader) readTombstones() {
	first := map[offer.Key]hcl.Range{}
	for _, b := range l.blocks["tombstone"] {
		if len(b.Labels) != 2 {
			l.log.errorAt(b.DefRange(), "Wrong labels", "A tombstone takes two labels, the type and the name of the offer: tombstone \"http\" \"old-weather\" { … }")
			continue
		}
		kind, name := offer.Type(b.Labels[0]), b.Labels[1]
		types := slices.Sorted(maps.Keys(l.lang.offers))
		if !slices.Contains(types, string(kind)) {
			l.log.errorAt(b.LabelRanges[0], "Unknown type", fmt.Sprintf("%q is none of %s.%s", kind, list(types), didYouMean(string(kind), types)))
			continue
		}
		if err := offer.CheckName(name); err != nil {
			l.log.errorAt(b.LabelRanges[1], "Bad name", fmt.Sprintf("The name %s.", err))
			continue
		}
		s := l.section(b.Body, l.lang.tombstone, b.DefRange(), false)
		r := l.reader(l.root)
		t := offer.TombstoneDecl{Key: offer.Key{Type: kind, Name: name, Namespace: tombstoneHome(kind, name)}, At: sourceOf(s.def)}
		t.Reason, _ = r.text(s, "reason")
		switch namespace, f := r.text(s, "namespace"); f {
		case absent:
		case broken:
			continue
		case got:
			if err := offer.CheckName(namespace); err != nil {
				r.failIn(s, "namespace", "Bad namespace", fmt.Sprintf("The namespace %s.", err))
				continue
			}
			t.Key.Namespace = namespace
		}
		if at, dup := first[t.Key]; dup {
			l.log.errorAt(s.def, "Tombstone given twice", fmt.Sprintf("The tombstone of %s stands at %s already.", t.Key, where(at)))
			continue
		}
		first[t.Key] = s.def
		l.file.Tombstones = append(l.file.Tombstones, t)
	}
	slices.SortFunc(l.file.Tombstones, func(a, b offer.TombstoneDecl) int { return a.Key.Compare(b.Key) })
}

// tombstoneHome is the namespace of a deleted offer, unless the tombstone says
// another.
func tombstoneHome(kind offer.Type, name string) string {
	switch kind {
	case offer.Inference:
		return "llm"
	case offer.Agent:
		return "agent-" + name
	case offer.Demo:
		return "demo"
	case offer.HTTP:
	}
	return "default"
}

// finish keeps what is sound, sorted.
func (l *loader) finish() {
	for _, d := range l.drafts {
		switch {
		case d.r.failed:
		case d.r.unknown:
			l.file.Unknown = append(l.file.Unknown, d.Address)
		default:
			l.file.Offers = append(l.file.Offers, d.Offer)
		}
	}
	slices.SortFunc(l.file.Offers, func(a, b offer.Offer) int { return a.Key().Compare(b.Key()) })
	slices.SortFunc(l.file.Unknown, offer.Address.Compare)
}
