package offer

import (
	"encoding/json"
	"reflect"
)

// Same reports whether two declarations mean the same offer: where they stand,
// under which address, and which wallet an agent was found to have do not
// count. Neither does what is lost when an offer is kept as JSON: an empty list
// is as good as none.
func (o Offer) Same(p Offer) bool {
	o, p = o.bare(), p.bare()
	return reflect.DeepEqual(o, p) || reflect.DeepEqual(o.kept(), p.kept())
}

// kept is the offer as it is once it was kept.
func (o Offer) kept() Offer {
	b, err := json.Marshal(o)
	if err != nil {
		return o // nothing is lost then
	}
	var out Offer
	if json.Unmarshal(b, &out) != nil {
		return o
	}
	return out
}

func (o Offer) bare() Offer {
	o.At, o.Address = Source{}, Address{}
	if o.Drain != nil {
		d := *o.Drain
		d.At = Source{}
		o.Drain = &d
	}
	if o.AgentRef.OwnPayTo && len(o.Payments) > 0 {
		first := o.Payments[0]
		first.PayTo = ""
		o.Payments = append([]Payment{first}, o.Payments[1:]...)
	}
	return o
}
