package facilitator

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"regexp"

	"github.com/ethereum/go-ethereum/common"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// A payment is what verify and settle are asked about: version 1 or 2, by
// EIP-3009 or by Permit2, read and well formed, and not yet believed.
type payment struct {
	version int
	network string // as the caller spells it
	terms   terms  // what the seller wants

	from, to            common.Address
	value               *big.Int
	nonce               [32]byte
	notBefore, notAfter *big.Int // seconds; EIP-3009 leaves both ends out, Permit2 has both in
	signature           []byte

	permit2 bool
	token   common.Address // Permit2: that the payer has signed for
	spender common.Address // Permit2
}

// terms is the part of PaymentRequirements that matters here.
type terms struct {
	amount       *big.Int
	asset, payTo common.Address
	name         string // of the EIP-712 domain
	version      string
}

// refusal is the reason not to take a payment.
type refusal struct{ reason, message string }

func refuse(reason, format string, args ...any) *refusal {
	return &refusal{reason, fmt.Sprintf(format, args...)}
}

// request is the body of verify and settle.
type request struct {
	Version      int             `json:"x402Version"`
	Payload      json.RawMessage `json:"paymentPayload"`
	Requirements json.RawMessage `json:"paymentRequirements"`
}

// requirements is PaymentRequirements of both versions: the amount has another
// name in each.
type requirements struct {
	Scheme            string  `json:"scheme"`
	Network           string  `json:"network"`
	Amount            *string `json:"amount"`
	MaxAmountRequired *string `json:"maxAmountRequired"`
	Asset             string  `json:"asset"`
	PayTo             string  `json:"payTo"`
	MaxTimeoutSeconds float64 `json:"maxTimeoutSeconds"`
	Extra             struct {
		Name                string `json:"name"`
		Version             string `json:"version"`
		AssetTransferMethod string `json:"assetTransferMethod"`
	} `json:"extra"`
}

// payload is PaymentPayload of both versions.
type payload struct {
	Version  int             `json:"x402Version"`
	Accepted *requirements   `json:"accepted"` // version 2
	Scheme   string          `json:"scheme"`   // version 1
	Network  string          `json:"network"`  // version 1
	Payload  json.RawMessage `json:"payload"`
}

type signed struct {
	Signature     string `json:"signature"`
	Authorization *struct {
		From        string `json:"from"`
		To          string `json:"to"`
		Value       string `json:"value"`
		ValidAfter  string `json:"validAfter"`
		ValidBefore string `json:"validBefore"`
		Nonce       string `json:"nonce"`
	} `json:"authorization"`
	Permit2 *struct {
		Permitted struct {
			Token  string `json:"token"`
			Amount string `json:"amount"`
		} `json:"permitted"`
		From     string `json:"from"`
		Spender  string `json:"spender"`
		Nonce    string `json:"nonce"`
		Deadline string `json:"deadline"`
		Witness  struct {
			To         string `json:"to"`
			ValidAfter string `json:"validAfter"`
		} `json:"witness"`
	} `json:"permit2Authorization"`
}

// networks is how each version spells the only network there is.
var networks = map[int]string{1: "base-sepolia", 2: fmt.Sprintf("eip155:%d", chain.ID)}

// readPayment reads the body of verify or settle. What it returns is as complete
// as it could be made, also with a refusal.
func readPayment(body []byte) (*payment, *refusal) {
	p := new(payment)
	var r request
	if err := decode(body, &r); err != nil {
		return p, refuse(invalidPayload, "the body is not understood: %v", err)
	}
	p.version = r.Version
	if networks[r.Version] == "" {
		return p, refuse(invalidVersion, "x402Version is neither 1 nor 2")
	}
	if bytes.HasPrefix(r.Payload, []byte{'"'}) {
		return p, refuse(unsupportedScheme, "paymentPayload is a string, not an object")
	}
	var wants requirements
	if err := decode(r.Requirements, &wants); err != nil {
		return p, refuse(invalidRequirements, "paymentRequirements are not understood: %v", err)
	}
	p.network = wants.Network
	var sent payload
	if err := decode(r.Payload, &sent); err != nil {
		return p, refuse(invalidPayload, "paymentPayload is not understood: %v", err)
	}
	if sent.Version != r.Version {
		return p, refuse(invalidVersion, "the payload has x402Version %d, the request %d", sent.Version, r.Version)
	}
	if no := p.readSigned(sent.Payload); no != nil {
		return p, no
	}
	return p, p.agree(&wants, &sent)
}

// agree compares what the seller wants with what the buyer says it accepted.
func (p *payment) agree(wants *requirements, sent *payload) *refusal {
	var err error
	if p.terms, err = wants.terms(p.version); err != nil {
		return refuse(invalidRequirements, "%v", err)
	}
	scheme, network := sent.Scheme, sent.Network
	if p.version == 2 {
		if sent.Accepted == nil {
			return refuse(invalidPayload, "the payload has no accepted")
		}
		scheme, network = sent.Accepted.Scheme, sent.Accepted.Network
	}
	switch {
	case scheme != "exact" || wants.Scheme != "exact":
		return refuse(unsupportedScheme, "the scheme is not exact")
	case network != wants.Network:
		return refuse(networkMismatch, "the payload is for another network")
	case network != networks[p.version]:
		return refuse(invalidNetwork, "the network is not %s", networks[p.version])
	case p.permit2 != (wants.Extra.AssetTransferMethod == "permit2"):
		return refuse(invalidPayload, "the payload is not made by the method that is asked for")
	case p.version == 1:
		return nil
	}
	accepted, err := sent.Accepted.terms(p.version)
	if err != nil {
		return refuse(invalidPayload, "accepted: %v", err)
	}
	if accepted.asset != p.terms.asset || accepted.payTo != p.terms.payTo || accepted.amount.Cmp(p.terms.amount) != 0 {
		return refuse(invalidRequirements, "the payload accepted other terms")
	}
	return nil
}

func (r *requirements) terms(version int) (terms, error) {
	amount := r.Amount
	if version == 1 {
		amount = r.MaxAmountRequired
	}
	if amount == nil {
		return terms{}, fmt.Errorf("the amount is missing")
	}
	if r.MaxTimeoutSeconds <= 0 {
		return terms{}, fmt.Errorf("maxTimeoutSeconds is not positive")
	}
	var f fields
	t := terms{
		amount:  f.integer("amount", *amount),
		asset:   f.address("asset", r.Asset),
		payTo:   f.address("payTo", r.PayTo),
		name:    r.Extra.Name,
		version: r.Extra.Version,
	}
	return t, f.err
}

func (p *payment) readSigned(data []byte) *refusal {
	var s signed
	if err := decode(data, &s); err != nil {
		return refuse(invalidPayload, "the payload's payload is not understood: %v", err)
	}
	f := new(fields)
	switch {
	case s.Authorization != nil && s.Permit2 == nil:
		a := s.Authorization
		p.from, p.to, p.value = f.address("from", a.From), f.address("to", a.To), f.integer("value", a.Value)
		p.notBefore, p.notAfter = f.integer("validAfter", a.ValidAfter), f.integer("validBefore", a.ValidBefore)
		copy(p.nonce[:], f.bytes("nonce", a.Nonce, 32))
	case s.Permit2 != nil && s.Authorization == nil && p.version == 2:
		a := s.Permit2
		p.permit2 = true
		p.from, p.to = f.address("from", a.From), f.address("to", a.Witness.To)
		p.token, p.value = f.address("token", a.Permitted.Token), f.integer("amount", a.Permitted.Amount)
		p.spender = f.address("spender", a.Spender)
		p.notBefore, p.notAfter = f.integer("validAfter", a.Witness.ValidAfter), f.integer("deadline", a.Deadline)
		f.integer("nonce", a.Nonce).FillBytes(p.nonce[:])
	default:
		return refuse(invalidPayload, "the payload has not one authorization that this version knows")
	}
	p.signature = f.bytes("signature", s.Signature, -1)
	if f.err != nil {
		return refuse(invalidPayload, "%v", f.err)
	}
	return nil
}

// fields reads values as they are on the wire, and keeps the first error.
type fields struct{ err error }

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// integer reads a decimal of at most 256 bits.
func (f *fields) integer(name, s string) *big.Int {
	n := new(big.Int)
	if !decimal.MatchString(s) || len(s) > 78 {
		f.bad(name)
		return n
	}
	if n.SetString(s, 10); n.BitLen() > 256 {
		f.bad(name)
		return new(big.Int)
	}
	return n
}

func (f *fields) address(name, s string) common.Address {
	return common.BytesToAddress(f.bytes(name, s, common.AddressLength))
}

// bytes reads 0x and hex digits; of any length if length is negative.
func (f *fields) bytes(name, s string, length int) []byte {
	digits, prefixed := bytes.CutPrefix([]byte(s), []byte("0x"))
	b := make([]byte, hex.DecodedLen(len(digits)))
	_, err := hex.Decode(b, digits)
	if err != nil || !prefixed || length >= 0 && len(b) != length {
		f.bad(name)
		return nil
	}
	return b
}

func (f *fields) bad(name string) {
	if f.err == nil {
		f.err = fmt.Errorf("%s is malformed", name)
	}
}

// decode reads one JSON object.
func decode(data []byte, into any) error {
	if !bytes.HasPrefix(bytes.TrimLeft(data, " \t\r\n"), []byte{'{'}) {
		return fmt.Errorf("it is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("there is more after the object")
	}
	return nil
}
