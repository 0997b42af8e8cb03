package view

import (
	"math/big"

	"github.com/obolctl/obolctl/pkg/offer"
)

// A price is what a buyer of an offer pays, by its primary payment.
type price struct {
	Text    string  `json:"text"`
	Atomic  *string `json:"atomic"` // null when it is charged as the stack decides
	Network string  `json:"network"`
	Testnet bool    `json:"testnet"`
	PayTo   string  `json:"pay_to"`
	URL     *string `json:"url"` // null when nothing tells the public URL
}

// priceOf gives the price of an offer, or nil without an offer or a payment.
// public is the URL under which buyers reach the cluster, "" when unknown.
func priceOf(o *offer.Offer, public string) *price {
	if o == nil || len(o.Payments) == 0 {
		return nil
	}
	pay := o.Payments[0]
	p := &price{Text: pay.Price.Text(pay.Token), Network: pay.Network, Testnet: testnet(pay.Network), PayTo: pay.PayTo}
	if units, known := pay.Price.Charged(pay.Token); known {
		s := units.String()
		p.Atomic = &s
	}
	if url := o.PublicURL(public); url != "" {
		p.URL = &url
	}
	return p
}

// testnet takes a network that is not known for one with real money.
func testnet(network string) bool {
	n, known := offer.LookupNetwork(network)
	return known && n.Testnet
}

// charge words one payment as a buyer meets it.
func charge(pay offer.Payment) []span {
	return append([]span{text(pay.Price.Text(pay.Token) + " " + perRequest(pay))}, payee(pay)...)
}

// perRequest words what one request costs in atomic units.
func perRequest(pay offer.Payment) string {
	units, known := pay.Price.Charged(pay.Token)
	switch {
	case !known:
		return "(charged as the stack decides)"
	case units.Cmp(big.NewInt(1)) == 0:
		return "(1 atomic unit a request)"
	}
	return "(" + units.String() + " atomic units a request)"
}

// chain words on which network is paid. Whether money is real is never left
// out.
func chain(pay offer.Payment) []span {
	said := []span{text(" on " + pay.Network + " ")}
	if testnet(pay.Network) {
		return append(said, text("testnet"))
	}
	return append(said, span{text: "$ real money", tone: care, solid: true})
}

// payee words where the money goes.
func payee(pay offer.Payment) []span {
	spans := chain(pay)
	if pay.PayTo == "" {
		return append(spans, text(" → the agent's own wallet, not known yet"))
	}
	return append(spans, text(" "), span{text: "→ " + pay.PayTo, solid: true})
}

// shortPrice words a price for a table: "0.5 USDC/Mtok".
func shortPrice(o *offer.Offer) string {
	if o == nil || len(o.Payments) == 0 {
		return ""
	}
	pay := o.Payments[0]
	s := pay.Price.Amount + " " + pay.Token.Symbol
	switch pay.Price.Unit {
	case offer.PerRequest:
		s += "/req"
	case offer.PerMTok:
		s += "/Mtok"
	case offer.PerHour:
		s += "/hour"
	case offer.PerEpoch:
		s += "/epoch"
	}
	if more := len(o.Payments) - 1; more > 0 {
		s += " +" + number(more)
	}
	return s
}
