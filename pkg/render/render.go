// Package render turns offers into the specs of what they need: objects of the
// cluster and gateways of the host. The same bytes in give the same bytes out.
package render

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// An Env is what specs hold beside what the offers say.
type Env struct {
	Site   string // of the label that marks our objects
	Holder string // of the annotation that says whose gateway serves them

	// Overlay opens the folder that an offer names as its overlay. Nothing
	// outside of that folder may be reachable through it, by symbolic links
	// neither. It may be nil when no offer has an overlay.
	Overlay func(folder string) (fs.FS, error)
}

// A Problem is why one offer has no specs.
type Problem struct {
	Offer   offer.Key
	Address offer.Address
	At      offer.Source
	Text    string // for people: what is wrong, and what to do about it
}

// Specs gives what the offers mean, sorted by ID. Offers in one namespace each
// have a spec of it, equal but for Offer and At, so that every offer's specs are
// whole.
//
// An offer with a problem has no specs, and never costs another offer its own;
// problems are sorted by offer. Who plans with the specs must not take the ones
// that are missing for things that should go.
//
// Drains are not rendered, and neither is the pay-to of an agent that says "its
// own wallet" before that wallet is known: plan fills them in.
func Specs(offers []offer.Offer, env Env) ([]resource.Spec, []Problem) {
	specs := make([]resource.Spec, 0, 5*len(offers))
	var problems []Problem
	overlays := overlays{open: env.Overlay, read: make(map[string]overlay)}
	for i := range offers {
		r := renderer{offer: &offers[i], env: env}
		err := r.render()
		if err == nil && r.offer.Overlay != "" {
			err = overlays.run(r.offer.Overlay, r.specs)
		}
		if err != nil {
			problems = append(problems, Problem{r.offer.Key(), r.offer.Address, r.offer.At, err.Error()})
			continue
		}
		specs = append(specs, r.specs...)
	}
	slices.SortFunc(specs, func(a, b resource.Spec) int {
		if c := a.ID.Compare(b.ID); c != 0 {
			return c
		}
		return a.Offer.Compare(b.Offer)
	})
	slices.SortFunc(problems, func(a, b Problem) int { return a.Offer.Compare(b.Offer) })
	return specs, problems
}

// A renderer gathers the specs of one offer.
type renderer struct {
	offer *offer.Offer
	env   Env
	specs []resource.Spec
}

// render makes the specs before any overlay.
func (r *renderer) render() error {
	o := r.offer
	if len(o.Payments) == 0 {
		return errors.New("no payment says what buyers pay; add a payment block")
	}
	if o.HasGateway() {
		if err := r.checkListener(); err != nil {
			return err
		}
	}
	if !o.InCluster() {
		r.add(r.gateway())
		return nil
	}
	namespace := r.namespace()
	r.add(namespace)
	switch {
	case o.HasGateway():
		r.add(r.service(o.Gateway.Port, nil), namespace.ID)
		r.add(r.endpointSlice(), namespace.ID)
		r.add(r.gateway())
	case isDemoServer(o):
		r.add(r.deployment(), namespace.ID)
		r.add(r.service(demoPort, map[string]any{"app": o.Name}), namespace.ID)
	}
	needs := make([]resource.ID, len(r.specs))
	for i, s := range r.specs {
		needs[i] = s.ID
	}
	r.add(r.serviceOffer(), needs...)
	return nil
}

// add keeps a spec, completed with what all specs of the offer have. needs are
// in order, as specs are made.
func (r *renderer) add(s resource.Spec, needs ...resource.ID) {
	s.Offer, s.At, s.Needs = r.offer.Key(), r.offer.At, needs
	r.specs = append(r.specs, s)
}

func (r *renderer) id(kind string) resource.ID {
	return resource.ID{Kind: kind, Namespace: r.offer.Namespace, Name: r.offer.Name}
}

// checkListener refuses what a gateway must not listen on: rule 13 holds even
// where nobody validated the offer.
func (r *renderer) checkListener() error {
	g := r.offer.Gateway
	if g.Port < 1 || g.Port > 65535 {
		return fmt.Errorf("its gateway has no port: %d is none; name one as gateway.listen", g.Port)
	}
	addr, err := listenAddress(g.Address)
	if err != nil {
		return fmt.Errorf("its gateway cannot listen on %q, which is no IP address; give gateway.listen a port, or an address and a port", g.Address)
	}
	if r.offer.InCluster() && !addr.IsLoopback() {
		return fmt.Errorf("its gateway must not listen on %s, where it would serve for free what the cluster charges for; give gateway.listen a port alone", addr)
	}
	return nil
}
