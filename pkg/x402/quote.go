package x402

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// The only scheme that is charged by, and its two ways of moving a token.
const (
	exact   = "exact"
	eip3009 = "eip3009"
	permit2 = "permit2"
)

// A Quote is one way to pay, ready for use: its requirements, and what is
// computed of them once. It is comparable. The zero Quote is of no use.
type Quote struct {
	requirements Requirements
	text         string // of the requirements, in JSON
	v1Name       string // of the network; empty: cannot be said in version 1
	chain        uint64
	amount       word
	asset, payTo Address
	contract     Address  // keeps the nonces: the asset, or Permit2
	spender      Address  // with Permit2: who may spend
	domain       [32]byte // EIP-712 separator of the contract
}

// NewQuote makes a quote of a payment at a price, which is the payment's own or
// that of a route. It fails on what a gateway cannot charge: a network, scheme
// or transfer method that it does not know, a price per hour or epoch, a pay-to
// or token that is no address, a token of EIP-3009 without an EIP-712 name and
// version, a time limit that is not at least a second.
func NewQuote(p offer.Payment, price offer.Price) (Quote, error) {
	network, known := offer.LookupNetwork(p.Network)
	digits, evm := strings.CutPrefix(network.CAIP2, "eip155:")
	chain, err := strconv.ParseUint(digits, 10, 64)
	if !known || !evm || err != nil {
		return Quote{}, fmt.Errorf("cannot charge on network %q", p.Network)
	}
	amount, ok := price.Charged(p.Token)
	switch {
	case p.Scheme != exact:
		return Quote{}, fmt.Errorf("cannot charge by scheme %q", p.Scheme)
	case !ok:
		return Quote{}, fmt.Errorf("cannot charge %s", price.Text(p.Token))
	case p.MaxTimeout < time.Second || p.MaxTimeout%time.Second != 0:
		return Quote{}, fmt.Errorf("a time limit of %s is not of whole seconds", p.MaxTimeout)
	case p.Token.TransferMethod == eip3009 && (p.Token.EIP712Name == "" || p.Token.EIP712Version == ""):
		return Quote{}, fmt.Errorf("token %s has no EIP-712 name and version", p.Token.Symbol)
	}
	q := Quote{v1Name: v1Name(network, p.Token), chain: chain}
	amount.FillBytes(q.amount[:])
	if err := q.setAddresses(p); err != nil {
		return Quote{}, err
	}
	q.requirements = Requirements{
		Scheme: exact, Network: network.CAIP2, Amount: amount.String(),
		Asset: q.asset.String(), PayTo: q.payTo.String(), MaxTimeoutSeconds: int64(p.MaxTimeout / time.Second),
		Extra: Extra{p.Token.EIP712Name, p.Token.EIP712Version, p.Token.TransferMethod},
	}
	q.text = string(marshal(q.requirements))
	return q, nil
}

// setAddresses sets what a payment is to and through.
func (q *Quote) setAddresses(p offer.Payment) (err error) {
	if q.asset, err = ParseAddress(p.Token.Address); err != nil {
		return fmt.Errorf("cannot charge in %s: %v", p.Token.Symbol, err)
	}
	if q.payTo, err = ParseAddress(p.PayTo); err != nil {
		return fmt.Errorf("cannot be paid: %v", err)
	}
	if q.payTo == (Address{}) || q.asset == (Address{}) {
		return errors.New("the zero address can neither be paid nor be a token")
	}
	switch p.Token.TransferMethod {
	case eip3009:
		q.contract = q.asset
		q.domain = tokenDomain(p.Token.EIP712Name, p.Token.EIP712Version, q.chain, q.asset)
		return nil
	case permit2:
		if q.contract, err = ParseAddress(permit2Address); err != nil {
			return err
		}
		q.domain = permit2Domain(q.chain, q.contract)
		q.spender, err = ParseAddress(permit2Proxy)
		return err
	}
	return fmt.Errorf("cannot charge by transfer method %q", p.Token.TransferMethod)
}

// v1Name is what version 1 calls a network, and empty when it cannot say this
// way to pay. The name ethereum is left out: the most used client of version 1
// does not know it, and refuses a whole list for one name.
func v1Name(n offer.Network, t offer.Token) string {
	if t.TransferMethod != eip3009 {
		return ""
	}
	switch n.Name {
	case "avalanche", "avalanche-fuji", "base", "base-sepolia", "polygon", "polygon-amoy":
		return n.Name
	}
	return ""
}

// Requirements gives what a buyer has to meet.
func (q Quote) Requirements() Requirements { return q.requirements }
