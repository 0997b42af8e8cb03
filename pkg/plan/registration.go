package plan

import (
	"slices"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// unregistered reports whether an offer asks for a registration that its live
// object, nil when it has none, does not have. The stack calls an offer
// registered, too, whose registration is off.
func unregistered(o *offer.Offer, live *resource.Object) bool {
	if o == nil || o.Standalone || o.Registration == nil || !o.Registration.Enabled {
		return false
	}
	return live == nil || !slices.ContainsFunc(Conditions(live), func(c Condition) bool {
		return c.Type == "Registered" && c.Status == "True" && c.Reason != "Disabled"
	})
}

// noteRegistration tells once of all offers that wait for a transaction: none is
// ever sent from here.
func (p *planner) noteRegistration() []string {
	if len(p.unregistered) == 0 {
		return nil
	}
	return []string{"not registered yet: " + few(p.unregistered) + "; that takes a transaction, and none is ever sent from here: obol sell register"}
}
