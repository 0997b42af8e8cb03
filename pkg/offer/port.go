package offer

import "slices"

// firstPort is where the ports of gateways start.
const firstPort = 8402

// AssignPorts gives every gateway whose port the file does not name the one
// that is remembered for it, else the lowest free one from 8402 upward. It
// never gives a port that another offer declares or remembers, nor one that is
// taken by something else, unless the gateway remembers it. A gateway for which
// no port is left keeps 0.
//
// The result is a new slice in the order of offers, and what each offer gets
// does not depend on that order.
func AssignPorts(offers []Offer, remembered map[Key]int, taken map[int]bool) []Offer {
	out := slices.Clone(offers)
	used := map[int]bool{}
	var open []*Offer
	for i := range out {
		o := &out[i]
		switch {
		case !o.HasGateway():
		case o.Gateway.Declared:
			used[o.Gateway.Port] = true
		default:
			o.Gateway.Port = 0
			open = append(open, o)
		}
	}
	slices.SortFunc(open, func(a, b *Offer) int { return a.Key().Compare(b.Key()) })
	for _, o := range open {
		if port := remembered[o.Key()]; port > 0 && !used[port] {
			o.Gateway.Port = port
			used[port] = true
		}
	}
	for _, port := range remembered {
		used[port] = true
	}
	next := firstPort
	for _, o := range open {
		if o.Gateway.Port != 0 {
			continue
		}
		for next <= 65535 && (used[next] || taken[next]) {
			next++
		}
		if next > 65535 {
			break
		}
		o.Gateway.Port = next
		next++
	}
	return out
}
