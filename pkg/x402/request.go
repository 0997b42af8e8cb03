package x402

import "fmt"

// A Request is the body that verify and settle of a facilitator get: the same
// bytes both times, and again after a crash.
type Request []byte

// NewRequest makes the request for a payment of a quote. The payment goes into
// it word for word, but for the last byte of a signature of 65 bytes, which is
// 27 or 28 even where a wallet wrote 0 or 1: contracts refuse those.
func NewRequest(p *Payment, q Quote, res Resource) Request {
	requirements := q.text
	if p.Version == 1 {
		requirements = string(marshal(q.v1(res)))
	}
	return fmt.Appendf(nil, `{"x402Version":%d,"paymentRequirements":%s,"paymentPayload":%s}`, p.Version, requirements, p.raw)
}
