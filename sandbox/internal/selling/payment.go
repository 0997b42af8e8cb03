package selling

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// Payments lists the ways to pay for an offer, the primary one first. All are
// settled by the one facilitator. It fails on what nobody could charge: a
// network that is not known, a price table without exactly one price, a price
// that the token cannot hold.
func Payments(o *v1alpha1.ServiceOffer, facilitator string) ([]offer.Payment, error) {
	said := o.Spec.Payments
	if len(said) == 0 {
		said = []v1alpha1.Payment{o.Spec.Payment}
	}
	out := make([]offer.Payment, len(said))
	for i := range said {
		p, err := payment(&said[i])
		if err != nil {
			return nil, fmt.Errorf("payment %d of %d: %w", i+1, len(said), err)
		}
		p.Facilitators = []string{facilitator}
		out[i] = p
	}
	return out, nil
}

// Routes lists the offer's routes; empty: all is paid. A price of a route's own
// is in the token of the primary payment.
func Routes(o *v1alpha1.ServiceOffer) ([]offer.Route, error) {
	primary := o.Spec.Payment
	if len(o.Spec.Payments) > 0 {
		primary = o.Spec.Payments[0]
	}
	var out []offer.Route
	for _, r := range o.Spec.Routes {
		made, err := route(r, &primary)
		if err != nil {
			return nil, fmt.Errorf("route %s: %w", r.Path, err)
		}
		out = append(out, made)
	}
	return out, nil
}

func route(r v1alpha1.Route, primary *v1alpha1.Payment) (offer.Route, error) {
	out := offer.Route{Path: r.Path, Gate: r.Gate, FreeQuota: r.FreeQuota, Summary: r.Summary}
	if out.Gate == "" {
		out.Gate = "paid"
	}
	for _, m := range r.Methods {
		out.Methods = append(out.Methods, string(m))
	}
	if r.Price == nil {
		return out, nil
	}
	p, err := payment(&v1alpha1.Payment{Network: primary.Network, Asset: primary.Asset, Price: *r.Price})
	if err != nil {
		return offer.Route{}, err
	}
	out.Price = &p.Price
	return out, nil
}

// defaultTimeout is what the schema gives a payment that does not say, in
// seconds.
const defaultTimeout = 300

func payment(p *v1alpha1.Payment) (offer.Payment, error) {
	network, known := offer.LookupNetwork(p.Network)
	if !known {
		return offer.Payment{}, fmt.Errorf("network %q is not known", p.Network)
	}
	tok, err := token(network, p.Asset)
	if err != nil {
		return offer.Payment{}, err
	}
	paid, err := price(p.Price, tok)
	if err != nil {
		return offer.Payment{}, err
	}
	out := offer.Payment{
		Scheme: p.Scheme, Network: network.Name, PayTo: p.PayTo,
		Token: tok, TokenGiven: p.Asset != nil, Price: paid,
	}
	if out.Scheme == "" {
		out.Scheme = "exact"
	}
	seconds := p.MaxTimeoutSeconds
	if seconds == 0 {
		seconds = defaultTimeout
	}
	if seconds < 0 || seconds > math.MaxInt64/int64(time.Second) {
		return offer.Payment{}, fmt.Errorf("a time limit of %d seconds is out of range", seconds)
	}
	out.MaxTimeout = time.Duration(seconds) * time.Second
	return out, nil
}

// token is the chain's USDC, the token that the asset names by its address or
// its symbol, or an unknown one. What the asset says itself holds.
func token(n offer.Network, a *v1alpha1.Asset) (offer.Token, error) {
	usdc, _ := n.Token("USDC")
	if a == nil {
		return usdc, nil
	}
	tok, known := usdc, true
	if a.Address != "" {
		tok, known = tokenAt(n, a.Address)
	} else if a.Symbol != "" {
		tok, known = n.Token(strings.ToUpper(a.Symbol))
	}
	switch {
	case known:
	case a.Address == "":
		return offer.Token{}, fmt.Errorf("token %s is not known on %s: it needs an address", a.Symbol, n.Name)
	case a.Decimals == nil:
		return offer.Token{}, fmt.Errorf("token %s is not known on %s: it needs decimals", a.Address, n.Name)
	default: // as the stack's own commands take a bare address
		tok = offer.Token{Symbol: a.Address, TransferMethod: "permit2"}
	}
	set(&tok.Address, a.Address)
	set(&tok.Symbol, a.Symbol)
	set(&tok.TransferMethod, a.TransferMethod)
	set(&tok.EIP712Name, a.EIP712Name)
	set(&tok.EIP712Version, a.EIP712Version)
	if a.Decimals != nil {
		tok.Decimals = int(*a.Decimals)
	}
	return tok, nil
}

func tokenAt(n offer.Network, address string) (offer.Token, bool) {
	for _, t := range n.Tokens {
		if strings.EqualFold(t.Address, address) {
			return t, true
		}
	}
	return offer.Token{}, false
}

func set(field *string, said string) {
	if said != "" {
		*field = said
	}
}

// price reads a table of prices, which has to hold one.
func price(table v1alpha1.Price, tok offer.Token) (offer.Price, error) {
	var filled []offer.Price
	for _, slot := range []offer.Price{
		{Unit: offer.PerRequest, Amount: table.PerRequest},
		{Unit: offer.PerMTok, Amount: table.PerMTok},
		{Unit: offer.PerHour, Amount: table.PerHour},
		{Unit: offer.PerEpoch, Amount: table.PerEpoch},
	} {
		if slot.Amount != "" {
			filled = append(filled, slot)
		}
	}
	switch len(filled) {
	case 0:
		return offer.Price{}, errors.New("it says no price")
	case 1:
		return offer.ParsePrice(filled[0].Unit, filled[0].Amount, tok)
	}
	return offer.Price{}, fmt.Errorf("it says %d prices, where one is to hold", len(filled))
}
