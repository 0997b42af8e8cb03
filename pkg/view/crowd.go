package view

import (
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// From these numbers on, changes of one kind are told together. What only
// restores what was agreed to needs the least reading.
const (
	restoreCrowd = 4
	otherCrowd   = 11
	crowdCap     = 20 // offers that a crowd names
)

// crowds takes the parts that are many of one kind out of the others. Both
// keep the order of the plan. A verbose page has no crowds.
func (p *page) crowds(parts []part) (singles []part, crowds [][]part) {
	n := map[kind]int{}
	for _, one := range parts {
		n[one.kind()]++
	}
	at := map[kind]int{}
	for _, one := range parts {
		k := one.kind()
		least := otherCrowd
		if k.class == plan.Restore {
			least = restoreCrowd
		}
		if p.Verbose || n[k] < least {
			singles = append(singles, one)
			continue
		}
		if _, seen := at[k]; !seen {
			at[k] = len(crowds)
			crowds = append(crowds, nil)
		}
		crowds[at[k]] = append(crowds[at[k]], one)
	}
	return singles, crowds
}

// crowd writes many parts of one kind: what they share first, then a line for
// each.
func (p *page) crowd(indent int, crowd []part) {
	first := crowd[0]
	say := say(first.action)
	p.blank()
	p.flow(indent, span{text: say.symbol + " " + say.todo, tone: say.tone}, text(" "),
		span{text: count(len(crowd), "offer"), tone: bold})
	p.cause(indent+4, first.shared(crowd))
	if shape := first.shape(); shape != "" && first.fate == doing {
		p.flow(indent+4, span{text: "each: " + shape, tone: dim})
	}
	if first.binds() && first.fate == doing {
		p.payees(indent+4, crowd)
	}
	same := p.sameFields(crowd)
	if same {
		p.fields(indent+4, first)
	}
	for i, one := range crowd {
		if i == crowdCap && (first.class == plan.Restore || first.class == plan.Config) {
			p.flow(indent+4, span{text: "… and " + number(len(crowd)-i) + " more of the same (-v lists them)", tone: dim})
			break
		}
		p.member(indent+4, one)
		if !same {
			p.fields(indent+8, one)
		}
	}
	p.nextOf(indent+4, crowd)
}

// nextOf writes the command that settles all of a crowd, or that of its first
// with a hint at the others.
func (p *page) nextOf(indent int, crowd []part) {
	first := crowd[0].Next
	p.next(indent, first)
	for _, one := range crowd {
		if one.Next != first {
			p.flow(indent, span{text: "and so for each of the others", tone: dim})
			return
		}
	}
}

// shared is p with only the words that all of the crowd have.
func (p part) shared(crowd []part) part {
	for _, other := range crowd {
		if other.why != p.why {
			p.why = ""
			break
		}
	}
	return p
}

// member writes one offer of a crowd: its address, its price and its place.
func (p *page) member(indent int, one part) {
	left := []span{{text: name(one.Address, one.Key), tone: bold, solid: true}}
	if s := shortPrice(one.Offer); s != "" {
		left = append(left, text("  "), span{text: s, solid: true})
	}
	p.aligned(indent, span{text: place(one.DeclaredAt), tone: dim}, left...)
}

// payees writes to whom a crowd's buyers pay, each payee once.
func (p *page) payees(indent int, crowd []part) {
	type to struct{ network, payTo string }
	n := map[to]int{}
	var order []offer.Payment
	for _, one := range crowd {
		if one.Offer == nil {
			continue
		}
		for _, pay := range one.Offer.Payments {
			k := to{pay.Network, pay.PayTo}
			if n[k]++; n[k] == 1 {
				order = append(order, pay)
			}
		}
	}
	for _, pay := range order {
		who := text(count(n[to{pay.Network, pay.PayTo}], "offer") + " paid")
		p.flow(indent, append([]span{who}, payee(pay)...)...)
	}
}

// fields writes the differences of a part and gives their number: both sides by
// name where a person is to choose. What a new or a going object holds is all
// or nothing, and left out.
func (p *page) fields(indent int, one part) int {
	n := 0
	for _, s := range one.steps {
		if whole(s.Action) {
			continue
		}
		for _, d := range s.Fields {
			n++
			if one.fate == withheld {
				p.versus(indent, d, against(one.cause, d.Path))
			} else {
				p.field(indent, d)
			}
		}
	}
	return n
}

// whole reports whether an action makes or removes all of a resource.
func whole(a plan.Action) bool {
	return a == plan.Create || a == plan.Delete || a == plan.Start
}

// sameFields reports whether all of a crowd differ in the same way.
func (p *page) sameFields(crowd []part) bool {
	want := p.fieldText(crowd[0])
	for _, one := range crowd[1:] {
		if p.fieldText(one) != want {
			return false
		}
	}
	return true
}

func (p *page) fieldText(one part) string {
	t := page{Style: p.Style}
	t.fields(0, one)
	return t.b.String()
}
