package x402

import (
	"fmt"
	"time"
)

// Reasons as the published facilitators spell them.
const (
	unsupportedScheme       = "unsupported_scheme"
	unsupportedPayload      = "unsupported_payload_type"
	invalidNetwork          = "invalid_network"
	invalidRequirements     = "invalid_payment_requirements"
	recipientMismatch       = "invalid_exact_evm_recipient_mismatch"
	valueMismatch           = "invalid_exact_evm_payload_authorization_value_mismatch"
	valueTooLow             = "invalid_exact_evm_authorization_value"
	tooEarly                = "invalid_exact_evm_payload_authorization_valid_after"
	tooLate                 = "invalid_exact_evm_payload_authorization_valid_before"
	invalidSignature        = "invalid_exact_evm_signature"
	permit2Spender          = "invalid_permit2_spender"
	permit2Recipient        = "invalid_permit2_recipient_mismatch"
	permit2Token            = "permit2_token_mismatch"
	permit2Value            = "permit2_amount_mismatch"
	permit2TooEarly         = "permit2_not_yet_valid"
	permit2TooLate          = "permit2_deadline_expired"
	permit2InvalidSignature = "invalid_permit2_signature"
)

const (
	// settleTime is how much of its time a payment must have left: the blocks
	// that a settlement may take. Facilitators demand the same.
	settleTime = 6 // seconds

	endOfTime = 253402300799 // the last second of 9999, after which times cannot be written
)

// Choose finds which of the quotes is paid. The error is an [*Invalid].
//
// In version 2 the buyer says what it accepted, which must equal the quote in
// all but extra, and have the quote's extra in its own. Version 1 says scheme
// and network only: the first such quote that version 1 can say is meant.
func (p *Payment) Choose(quotes []Quote) (Quote, error) {
	reason, message := unsupportedScheme, "scheme %s is not accepted here"
	what := p.scheme
	for _, q := range quotes {
		switch {
		case q.requirements.Scheme != p.scheme:
		case q.network(p.Version) != p.network:
			if reason == unsupportedScheme {
				reason, message, what = invalidNetwork, "network %s is not accepted here", p.network
			}
		case p.Version == 1 || p.accepted.meets(q):
			return q, nil
		default:
			reason, message, what = invalidRequirements, "on %s something else is asked for than was accepted: the price may have changed", p.network
		}
	}
	return Quote{}, &Invalid{reason, fmt.Sprintf(message, clean(what, 64))}
}

func (q Quote) network(version int) string {
	if version == 1 {
		return q.v1Name
	}
	return q.requirements.Network
}

// meets tells whether a buyer accepted q, scheme and network aside.
func (a accepted) meets(q Quote) bool {
	r := q.requirements
	if a.amount != r.Amount || a.maxTimeout != r.MaxTimeoutSeconds || !same(a.asset, r.Asset, q.asset) || !same(a.payTo, r.PayTo, q.payTo) {
		return false
	}
	for _, m := range [...][2]string{{"name", r.Extra.Name}, {"version", r.Extra.Version}, {"assetTransferMethod", r.Extra.AssetTransferMethod}} {
		if s, err := a.extra.text(m[0]); m[1] != "" && (err != nil || s != m[1]) {
			return false
		}
	}
	flow, err := a.extra.text("paymentFlow")
	return err == nil && (flow == "" || flow == "authorization")
}

// same tells whether s spells the address a, which is usually spelled so.
func same(s, usual string, a Address) bool {
	if s == usual {
		return true
	}
	b, err := ParseAddress(s)
	return err == nil && a == b
}

// An Authorization is what a payment allows the seller to take.
type Authorization struct {
	Claim
	Amount      string    // what it takes, in atomic units: decimal digits; the quote's, or in version 1 more
	ValidBefore time.Time // whole seconds; at most the end of the year 9999
	Proven      bool      // the payer signed it; else the signature is not of 65 bytes, and only a facilitator can tell
}

// Check proves that the payment pays the quote that [Payment.Choose] gave, as
// far as it can be proved without the chain: all but the payer's balance and
// whether the nonce was used. The error is an [*Invalid].
//
// The signed amount must be exactly the quote's in version 2, and at least that
// in version 1, whose facilitators allow more.
func (p *Payment) Check(q Quote, now time.Time) (Authorization, error) {
	g := &p.grant
	var invalid *Invalid
	switch {
	case g.method != q.requirements.Extra.AssetTransferMethod:
		invalid = &Invalid{unsupportedPayload, "the payload is not one of transfer method " + q.requirements.Extra.AssetTransferMethod}
	case g.method == permit2:
		invalid = g.checkPermit(q)
	default:
		invalid = g.checkTransfer(q, p.Version)
	}
	if invalid == nil {
		invalid = g.checkTime(now.Unix())
	}
	if invalid == nil && len(g.signature) == signatureSize {
		invalid = g.checkSignature(q)
	}
	if invalid != nil {
		return Authorization{}, invalid
	}
	amount := q.requirements.Amount
	if g.value != q.amount {
		amount = g.value.String()
	}
	return Authorization{
		Claim:       Claim{q.chain, q.contract, g.from, g.nonce},
		Amount:      amount,
		ValidBefore: time.Unix(min(g.validBefore.seconds(), endOfTime), 0).UTC(),
		Proven:      len(g.signature) == signatureSize,
	}, nil
}

func (g *grant) checkTransfer(q Quote, version int) *Invalid {
	switch {
	case g.to != q.payTo:
		return &Invalid{recipientMismatch, fmt.Sprintf("it pays %s, and not %s", g.to, q.payTo)}
	case version == 1 && g.value.less(q.amount):
		return &Invalid{valueTooLow, fmt.Sprintf("it pays %s, and at least %s is asked", g.value, q.amount)}
	case version == 2 && g.value != q.amount:
		return &Invalid{valueMismatch, fmt.Sprintf("it pays %s, and exactly %s is asked", g.value, q.amount)}
	}
	return nil
}

func (g *grant) checkPermit(q Quote) *Invalid {
	switch {
	case g.spender != q.spender:
		return &Invalid{permit2Spender, fmt.Sprintf("it lets %s spend, and not %s", g.spender, q.spender)}
	case g.token != q.asset:
		return &Invalid{permit2Token, fmt.Sprintf("it pays in token %s, and not in %s", g.token, q.asset)}
	case g.to != q.payTo:
		return &Invalid{permit2Recipient, fmt.Sprintf("it pays %s, and not %s", g.to, q.payTo)}
	case g.value != q.amount:
		return &Invalid{permit2Value, fmt.Sprintf("it pays %s, and exactly %s is asked", g.value, q.amount)}
	}
	return nil
}

// checkTime wants a payment that is in force now and for a while yet.
func (g *grant) checkTime(now int64) *Invalid {
	early, late := tooEarly, tooLate
	if g.method == permit2 {
		early, late = permit2TooEarly, permit2TooLate
	}
	if after := g.validAfter.seconds(); after > now {
		return &Invalid{early, fmt.Sprintf("it is valid only after %s, and it is %d here", g.validAfter, now)}
	}
	if before := g.validBefore.seconds(); before < now+settleTime {
		return &Invalid{late, fmt.Sprintf("it is valid only before %s, it is %d here, and settling takes %d s", g.validBefore, now, settleTime)}
	}
	return nil
}

// checkSignature wants the signature to be the payer's.
func (g *grant) checkSignature(q Quote) *Invalid {
	reason := invalidSignature
	if g.method == permit2 {
		reason = permit2InvalidSignature
	}
	by, err := signer([signatureSize]byte(g.signature), g.digest(q.domain))
	if err != nil {
		return &Invalid{reason, err.Error()}
	}
	if by != g.from {
		extra := q.requirements.Extra
		return &Invalid{reason, fmt.Sprintf("%s did not sign this, for token %q version %q on chain %d at %s", g.from, extra.Name, extra.Version, q.chain, q.asset)}
	}
	return nil
}
