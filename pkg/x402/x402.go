// Package x402 is the protocol: the types of versions 1 and 2, their codecs,
// the verification of EIP-3009 and Permit2 payments, and the facilitator's
// client. What a buyer or a facilitator sent is decoded strictly and believed
// only where it equals what the seller configured. Nothing here signs.
//
// The specification is x402 of April 2026; where it is silent, this package
// does what the published clients and facilitators expect.
package x402

import "errors"

// The headers of the protocol, as net/http spells them. Version 2 has a name of
// its own for each; version 1 puts what a buyer must pay into the body.
const (
	RequiredHeader   = "Payment-Required"     // 402, version 2: Challenge.Header
	PaymentHeader    = "Payment-Signature"    // what a buyer of version 2 sends
	ReceiptHeader    = "Payment-Response"     // Settlement.Header
	PaymentHeaderV1  = "X-Payment"            // what a buyer of version 1 sends
	ReceiptHeaderV1  = "X-Payment-Response"   // Settlement.Header
	ExtensionsHeader = "Extension-Responses"  // what a facilitator tells the seller; not for buyers
	OverridesHeader  = "Settlement-Overrides" // with which an upstream would change a price
)

// ErrMalformed means that a buyer sent something that is no payment: the answer
// is 400. The error that wraps it says what is wrong with it, and holds nothing
// of the buyer's text that was not cleaned.
var ErrMalformed = errors.New("malformed payment")

// An Invalid is why a payment that can be read does not pay: the answer is 402.
type Invalid struct {
	Reason  string // as the protocol spells it, such as invalid_exact_evm_signature
	Message string // for people; nothing of the payment that was not cleaned
}

func (e *Invalid) Error() string { return e.Reason + ": " + e.Message }

// A Claim is what can be spent once. All of it is signed by the payer, so that
// nobody can make two claims of one payment, and it is comparable.
type Claim struct {
	Chain    uint64   // EIP-155 id
	Contract Address  // that keeps the nonce: the token itself with EIP-3009; Permit2, whose nonces are the payer's for all tokens
	Payer    Address  // whose money it is
	Nonce    [32]byte // big-endian when it is a number
}
