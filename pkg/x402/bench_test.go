package x402_test

import (
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

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

// BenchmarkRecover is the part of it that nobody can spare.
func BenchmarkRecover(b *testing.B) {
	digest := slowKeccak(nil)
	compact := ecdsa.SignCompact(alice().key, digest, false)
	for b.Loop() {
		if _, _, err := ecdsa.RecoverCompact(compact, digest); err != nil {
			b.Fatal(err)
		}
	}
}
