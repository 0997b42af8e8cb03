package x402_test

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/x402"
)

// BenchmarkPayment is what a gateway computes for one paid request: decode,
// choose, check, and the facilitator's request.
func BenchmarkPayment(b *testing.B) {
	for name, q := range map[string]x402.Quote{"eip3009": usdc(b), "permit2": obol(b)} {
		b.Run(name, func(b *testing.B) {
			h := alice().pay(q).header(2)
			qs := []x402.Quote{usdc(b), obol(b)}
			b.ReportAllocs()
			for b.Loop() {
				p, err := x402.PaymentOf(h)
				if err != nil {
					b.Fatal(err)
				}
				chosen, err := p.Choose(qs)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := p.Check(chosen, noon()); err != nil {
					b.Fatal(err)
				}
				x402.NewRequest(p, chosen, resource())
			}
		})
	}
}
