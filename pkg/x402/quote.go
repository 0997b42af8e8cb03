package x402

import (
	"errors"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A Quote is one way to pay, ready for use: its requirements, and what is
// computed of them once. It is comparable. The zero Quote is of no use.
type Quote struct {
	requirements Requirements
	v1Name       string // of the network; empty: cannot be said in version 1
	chain        uint64
	amount       word
	asset, payTo Address
	domain       [32]byte // separator of EIP-712: the token's with EIP-3009, Permit2's with Permit2
}

// NewQuote makes a quote of a payment at a price, which is the payment's own or
// that of a route. It fails on what a gateway cannot charge: a network, scheme
// or transfer method that it does not know, a price per hour or epoch, a pay-to
// or token that is no address, a time limit that is not at least a second.
func NewQuote(p offer.Payment, price offer.Price) (Quote, error) {
	return Quote{}, errors.New("not written yet")
}

// Requirements gives what a buyer has to meet.
func (q Quote) Requirements() Requirements { return q.requirements }
