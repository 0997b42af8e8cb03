package plan_test

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestLaws states what holds for every plan, over drawn worlds: some offers
// were applied, then things happened to them, and the file changed.
func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := drawSite(t)
		for _, p := range []plan.Plan{s.converge(), s.plan(auto), s.plan(asked)} {
			lawful(t, s, p)
		}
		unattendedMovesNoMoney(t, s)
		orderIsInvisible(t, s)
		attendedConverges(t, s)
	})
}

// lawful holds a plan against the rules that no policy may break.
func lawful(t *rapid.T, s *site, p plan.Plan) {
	done := map[resource.ID]bool{}
	planned := map[resource.ID]bool{}
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			planned[st.ID] = true
		}
	}
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			if _, blind := s.blind[st.ID]; blind && st.Action != plan.Block && !st.Withheld {
				t.Errorf("%s was not seen, yet the plan is to %s it", st.ID, st.Action)
			}
			if st.Action == plan.Undrain && st.Cause != plan.FileChanged && st.Class != plan.Takeover {
				t.Errorf("%s is undrained by %s", st.ID, st.Cause)
			}
			if tomb, dead := s.in.Memory.Marks.Tombstone(offer.Key{Namespace: st.ID.Namespace, Name: st.ID.Name}); dead && makes(st) && !st.Withheld && st.Action != plan.Undelete && !has(c, plan.Undelete) {
				t.Errorf("%s is to %s under a tombstone of %s", st.ID, st.Action, tomb.By)
			}
			o := s.objects[st.ID]
			if o != nil && st.ID.Kind != resource.Namespace && o.Label(resource.SiteLabel) != "home" && !st.Withheld && st.Action != plan.Block && st.Cause != plan.Foreign && st.Cause != plan.Tombstoned {
				t.Errorf("%s is not ours, yet the plan is to %s it for %s", st.ID, st.Action, st.Cause)
			}
			if makes(st) && !st.Withheld {
				for _, need := range st.Needs {
					if planned[need] && !done[need] {
						t.Errorf("%s comes before %s, which it needs", st.ID, need)
					}
				}
			}
			if o != nil && st.Terms.UID == "" && !st.Withheld && st.Action != plan.Block && st.Action != plan.Start {
				t.Errorf("%s %s does not say which UID it means", st.Action, st.ID)
			}
			done[st.ID] = done[st.ID] || !st.Withheld && st.Action != plan.Block
		}
	}
}

func makes(s plan.Step) bool {
	return s.Action == plan.Create || s.Action == plan.Start || s.Action == plan.TakeOver
}

func has(c plan.Change, a plan.Action) bool {
	return slices.ContainsFunc(c.Steps, func(s plan.Step) bool { return s.Action == a })
}

// unattendedMovesNoMoney carries out what converge plans: no live offer is paid
// otherwise than before, none is undrained, and none is made with an open money
// decision.
func unattendedMovesNoMoney(t *rapid.T, s *site) {
	before := map[resource.ID]any{}
	for id, o := range s.objects {
		pay, _ := resource.Lookup(o.Content, "spec.payment")
		before[id] = pay
	}
	p := s.converge()
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			if st.Withheld || st.Action == plan.Block || st.ID.Kind != resource.ServiceOffer {
				continue
			}
			if st.Class == plan.Money || st.Class == plan.Revive || st.Class == plan.Takeover {
				t.Errorf("unattended: %s %s of class %s", st.Action, st.ID, st.Class)
			}
			was, lived := before[st.ID]
			for path := range resource.Leaves(st.Want.Object) {
				w, _ := resource.Lookup(map[string]any{"spec": map[string]any{"payment": was}}, path)
				v, _ := resource.Lookup(st.Want.Object, path)
				if lived && resource.Under(path, "spec.payment") && !resource.Equal(v, w) && !slices.Contains(st.Terms.Leave, path) {
					t.Errorf("unattended: %s of %s from %v to %v", path, st.ID, w, v)
				}
			}
		}
	}
}

// orderIsInvisible plans the same declarations in another order.
func orderIsInvisible(t *rapid.T, s *site) {
	first := s.plan(asked)
	want := *s.in.Want
	other := want
	other.Offers = rapid.Permutation(want.Offers).Draw(t, "order")
	s.in.Want = &other
	second := s.plan(asked)
	s.in.Want = &want
	if diff := cmp.Diff(first, second, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{}, netip.Prefix{})); diff != "" {
		t.Errorf("the order of declarations shows in the plan (-first +second):\n%s", diff)
	}
}

// attendedConverges carries out what a person agreed to: then nothing is left
// but what was unknown, or is another holder's.
func attendedConverges(t *rapid.T, s *site) {
	s.apply(asked)
	again := s.plan(asked)
	for _, c := range again.Changes {
		for _, st := range c.Steps {
			if st.Action != plan.Block && !st.Withheld {
				t.Errorf("after the plan was carried out, %s is still to %s: %s", st.ID, st.Action, st.Why)
			}
		}
	}
	for _, c := range s.converge().Changes {
		for _, st := range c.Steps {
			if st.Action != plan.Block && !st.Withheld {
				t.Errorf("after the plan was carried out, converge is still to %s %s: %s", st.Action, st.ID, st.Why)
			}
		}
	}
}

func drawSite(t *rapid.T) *site {
	s := newSite(t)
	n := rapid.IntRange(1, 4).Draw(t, "offers")
	s.declare(drawOffers(t, n)...)
	if rapid.IntRange(0, 4).Draw(t, "applied") > 0 {
		s.apply(asked)
	}
	for range rapid.IntRange(0, 4).Draw(t, "events") {
		s.now = s.now.Add(time.Minute)
		event(t, s)
	}
	if rapid.Bool().Draw(t, "edited") {
		s.declare(drawOffers(t, n)...)
	}
	return s
}

func drawOffers(t *rapid.T, n int) []offer.Offer {
	var out []offer.Offer
	for i := range n {
		if rapid.IntRange(0, 4).Draw(t, "gone") == 0 {
			continue
		}
		price := rapid.SampledFrom([]string{"0.1", "0.2"}).Draw(t, "price")
		o := httpOffer(fmt.Sprint("web", i), price)
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 1:
			o = hostOffer(fmt.Sprint("web", i), price)
		case 2:
			o = hostOffer(fmt.Sprint("web", i), price)
			o.Standalone = true
		}
		o.Gateway.Port += i
		o.Listing.Weight = rapid.Int64Range(0, 1).Draw(t, "weight")
		if rapid.IntRange(0, 5).Draw(t, "drained") == 0 {
			o.Drain = &offer.DrainDecl{Grace: time.Hour}
		}
		out = append(out, o)
	}
	return out
}

// event lets something happen to the world.
func event(t *rapid.T, s *site) {
	ids := slices.SortedFunc(func(yield func(resource.ID) bool) {
		for id := range s.objects {
			if !yield(id) {
				return
			}
		}
		for id := range s.running {
			if !yield(id) {
				return
			}
		}
	}, resource.ID.Compare)
	if len(ids) == 0 {
		return
	}
	id := rapid.SampledFrom(ids).Draw(t, "id")
	o, g := s.objects[id], s.running[id]
	switch rapid.IntRange(0, 8).Draw(t, "event") {
	case 0:
		delete(s.objects, id)
	case 1:
		if g != nil && g.State == resource.GatewayRunning {
			s.kill(g)
		}
	case 2:
		s.reboot()
	case 3:
		s.rebuild()
	case 4:
		s.blind[id] = "timed out"
	case 5:
		if o != nil && id.Kind == resource.ServiceOffer {
			s.edit(id, price, "0.9")
			s.look()
		}
	case 6:
		if o != nil && id.Kind == resource.ServiceOffer {
			s.edit(id, "spec.drainAt", s.now.Format(time.RFC3339))
		}
	case 7:
		if o != nil && id.Kind != resource.Namespace {
			s.edit(id, resource.FormatPath("metadata", "labels", resource.SiteLabel), rapid.SampledFrom([]any{"other", nil}).Draw(t, "site"))
		}
	case 8:
		if g != nil {
			g.Answering = false
		}
	}
}
