package x402

import "slices"

// A Request is the body that verify and settle of a facilitator get: the same
// bytes both times, and again after a crash.
type Request []byte

type requestHead struct {
	Version      int `json:"x402Version"`
	Requirements any `json:"paymentRequirements"`
}

// NewRequest makes the request for a payment of a quote. The payment goes into
// it word for word, but for the last byte of a signature of 65 bytes, which is
// 27 or 28 even where a wallet wrote 0 or 1: contracts refuse those.
func NewRequest(p *Payment, q Quote, res Resource) Request {
	head := requestHead{p.Version, q.requirements}
	if p.Version == 1 {
		head.Requirements = q.v1(res)
	}
	text := marshal(head)
	return slices.Concat(text[:len(text)-1], []byte(`,"paymentPayload":`), p.raw, []byte("}"))
}
