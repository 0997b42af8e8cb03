package plan_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
)

// thousand gives a site of a thousand offers, all as they should be.
func thousand(t fataler) *site {
	s := newSite(t)
	var offers []offer.Offer
	for i := range 1000 {
		o := httpOffer(fmt.Sprintf("web%04d", i), "0.1")
		if i%4 == 0 {
			o = hostOffer(fmt.Sprintf("web%04d", i), "0.1")
			o.Gateway.Port += i
		}
		offers = append(offers, o)
	}
	s.declare(offers...)
	s.apply(auto)
	return s
}

// BenchmarkNothingToDo plans a thousand offers that need nothing.
func BenchmarkNothingToDo(b *testing.B) {
	s := thousand(b)
	in := s.look()
	for b.Loop() {
		in.Memory.Marks = plan.Observe(in)
		if p := plan.Make(in); len(p.Changes) != 0 {
			b.Fatal(lines(p))
		}
	}
}

// BenchmarkMarks plans a thousand offers that were repriced and drained live.
func BenchmarkMarks(b *testing.B) {
	s := thousand(b)
	for _, o := range s.in.Want.Offers {
		s.edit(id("ServiceOffer", o), price, "0.7")
		s.edit(id("ServiceOffer", o), "spec.drainAt", s.now.Format(time.RFC3339))
	}
	in := s.look()
	for b.Loop() {
		in.Memory.Marks = plan.Observe(in)
		in.Policy = auto
		p := plan.Make(in)
		plan.Agreed(in, p, plan.Agreement{By: "me"})
	}
}
