package offer

import "reflect"

// Same reports whether two declarations mean the same offer: where they stand,
// under which address, and which wallet an agent was found to have do not
// count.
func (o Offer) Same(p Offer) bool { return reflect.DeepEqual(o.bare(), p.bare()) }

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
