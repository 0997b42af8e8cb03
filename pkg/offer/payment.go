package offer

import "time"

// A Payment is one way to pay for an offer.
type Payment struct {
	Scheme       string        `json:"scheme"`  // exact
	Network      string        `json:"network"` // a name of Networks, canonical
	PayTo        string        `json:"pay_to"`  // 0x address, as written; empty only while an agent's own wallet is not known
	Token        Token         `json:"token"`
	TokenGiven   bool          `json:"token_given,omitempty"` // the file names token or asset; otherwise it is the network's USDC
	Price        Price         `json:"price"`
	MaxTimeout   time.Duration `json:"max_timeout"` // whole seconds
	Facilitators []string      `json:"facilitators,omitempty"`
}

// A Token is an ERC-20 that a price may be given in.
type Token struct {
	Symbol         string `json:"symbol"`
	Address        string `json:"address"`
	Decimals       int    `json:"decimals"`        // one token is 10^Decimals atomic units
	TransferMethod string `json:"transfer_method"` // eip3009 or permit2
	EIP712Name     string `json:"eip712_name"`
	EIP712Version  string `json:"eip712_version"`
}

// A Unit is what a price is per.
type Unit string

// The units of prices.
const (
	PerRequest Unit = "per_request"
	PerMTok    Unit = "per_mtok" // million tokens; charged as a thousandth of it per request, as the stack does
	PerHour    Unit = "per_hour"
	PerEpoch   Unit = "per_epoch"
)

// A Price is an exact amount of a token per unit.
type Price struct {
	Unit   Unit   `json:"unit"`
	Amount string `json:"amount"` // a decimal without sign, exponent or separator; never zero
}
