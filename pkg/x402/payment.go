package x402

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A Payment is what a buyer sent: decoded, not believed.
type Payment struct {
	Version int // 1 or 2

	raw      []byte // the JSON object; our own copy
	scheme   string
	network  string // CAIP-2, or a name in version 1
	accepted accepted
	resource string
	grant    grant
}

// accepted is the rest of what a buyer of version 2 says that it meets.
type accepted struct {
	amount, asset, payTo string
	maxTimeout           int64
	extra                object
}

// A grant is what a payer signed. Both transfer methods say the same, under
// different names.
type grant struct {
	method                  string // eip3009, permit2, or empty: not known here
	signature               []byte
	from, to                Address
	value                   word
	validAfter, validBefore word // Unix seconds
	nonce                   word
	token, spender          Address // with Permit2
}

// PaymentOf reads the payment of a request; nil and no error when there is none.
// The error wraps [ErrMalformed].
//
// A payment is one value of one header, base64 in its only spelling, of at most
// 16 KB, and in it one JSON object of the header's version. Numbers, addresses
// and nonces are spelled as the protocol says, and no object that is read has
// two members of one name. A scheme or a payload that is not known here is no
// error: [Payment.Choose] or [Payment.Check] refuse it.
func PaymentOf(h http.Header) (*Payment, error) {
	v2, v1 := h.Values(PaymentHeader), h.Values(PaymentHeaderV1)
	switch {
	case len(v2)+len(v1) == 0:
		return nil, nil
	case len(v2)+len(v1) > 1:
		return nil, fmt.Errorf("%w: a request has one payment header, and this one has %d", ErrMalformed, len(v2)+len(v1))
	}
	p, value, name := &Payment{Version: 2}, "", PaymentHeader
	if len(v1) == 1 {
		p.Version, value, name = 1, v1[0], PaymentHeaderV1
	} else {
		value = v2[0]
	}
	if err := p.decode(value); err != nil {
		return nil, fmt.Errorf("%w: header %s %v", ErrMalformed, name, err)
	}
	return p, nil
}

func (p *Payment) decode(value string) (err error) {
	if strings.Contains(value, ",") {
		return errors.New("holds more than one value")
	}
	if p.raw, err = decodeBase64(value); err != nil {
		return err
	}
	o, err := parseJSON(p.raw)
	if err != nil {
		return err
	}
	version, err := o.count("x402Version")
	if err == nil && version != int64(p.Version) {
		err = fmt.Errorf("is for version %d of the protocol, and this payment is of version %d", p.Version, version)
	}
	if err != nil {
		return err
	}
	if p.Version == 1 {
		err = p.decodeScheme(o)
	} else {
		err = p.decodeAccepted(o)
	}
	if err != nil {
		return err
	}
	payload, err := o.object("payload")
	if err != nil {
		return err
	}
	if payload == nil {
		return errors.New("has no \"payload\"")
	}
	if p.scheme != exact {
		return nil
	}
	if err := p.grant.decode(payload); err != nil {
		return fmt.Errorf("has a \"payload\" in which %v", err)
	}
	return nil
}

func (p *Payment) decodeScheme(o object) (err error) {
	if p.scheme, err = o.filled("scheme"); err != nil {
		return err
	}
	p.network, err = o.filled("network")
	return err
}

func (p *Payment) decodeAccepted(o object) error {
	resource, err := o.object("resource")
	if err != nil {
		return err
	}
	if p.resource, err = resource.text("url"); err != nil {
		return err
	}
	a, err := o.object("accepted")
	if err != nil {
		return err
	}
	if err := p.decodeScheme(a); err != nil {
		return fmt.Errorf("has an \"accepted\" in which %v", err)
	}
	if err := p.accepted.decode(a); err != nil {
		return fmt.Errorf("has an \"accepted\" in which %v", err)
	}
	return nil
}

func (a *accepted) decode(o object) (err error) {
	if a.amount, err = o.filled("amount"); err != nil {
		return err
	}
	if _, err := parseWord(a.amount); err != nil {
		return fmt.Errorf("\"amount\" %v", err)
	}
	if a.asset, err = o.filled("asset"); err != nil {
		return err
	}
	if a.payTo, err = o.filled("payTo"); err != nil {
		return err
	}
	if a.maxTimeout, err = o.count("maxTimeoutSeconds"); err != nil {
		return err
	}
	a.extra, err = o.object("extra")
	return err
}

// decode reads the payload of the scheme exact on EVM chains. One that is of
// neither method is left alone.
func (g *grant) decode(payload object) error {
	authorization, err := payload.object("authorization")
	if err != nil {
		return err
	}
	permit, err := payload.object("permit2Authorization")
	if err != nil {
		return err
	}
	switch {
	case authorization != nil && permit != nil:
		return errors.New("there are two authorizations")
	case authorization != nil:
		g.method, err = eip3009, g.decodeTransfer(authorization)
	case permit != nil:
		g.method, err = permit2, g.decodePermit(permit)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	g.signature, err = decodeSignature(payload)
	return err
}

func (g *grant) decodeTransfer(o object) (err error) {
	if g.from, err = o.address("from"); err != nil {
		return err
	}
	if g.to, err = o.address("to"); err != nil {
		return err
	}
	if g.value, err = o.word("value"); err != nil {
		return err
	}
	if g.validAfter, err = o.word("validAfter"); err != nil {
		return err
	}
	if g.validBefore, err = o.word("validBefore"); err != nil {
		return err
	}
	nonce, err := o.text("nonce")
	if err == nil && (len(nonce) != 66 || nonce[:2] != "0x") {
		err = errors.New("too short, or too long")
	}
	if err == nil {
		_, err = hex.Decode(g.nonce[:], []byte(nonce[2:]))
	}
	if err != nil {
		return errors.New("\"nonce\" is not 0x and 64 hex digits")
	}
	return nil
}

func (g *grant) decodePermit(o object) (err error) {
	permitted, err := o.object("permitted")
	if err != nil {
		return err
	}
	witness, err := o.object("witness")
	if err != nil {
		return err
	}
	for _, f := range []struct {
		of   object
		name string
		into *Address
	}{{o, "from", &g.from}, {o, "spender", &g.spender}, {permitted, "token", &g.token}, {witness, "to", &g.to}} {
		if *f.into, err = f.of.address(f.name); err != nil {
			return err
		}
	}
	for _, f := range []struct {
		of   object
		name string
		into *word
	}{{permitted, "amount", &g.value}, {o, "nonce", &g.nonce}, {o, "deadline", &g.validBefore}, {witness, "validAfter", &g.validAfter}} {
		if *f.into, err = f.of.word(f.name); err != nil {
			return err
		}
	}
	return nil
}

// decodeSignature reads a signature of any length. In one of 65 bytes it makes
// the last byte, where it is in the payment, 27 or 28 when the wallet wrote 0 or
// 1: contracts refuse those, and a facilitator that does not mend them would
// find the payment valid and fail to settle it.
func decodeSignature(payload object) ([]byte, error) {
	quoted := payload.find("signature")
	if len(quoted) < 4 || string(quoted[:3]) != `"0x` {
		return nil, errors.New("\"signature\" is not 0x and hex digits")
	}
	digits := quoted[3 : len(quoted)-1]
	signature := make([]byte, len(digits)/2)
	if _, err := hex.Decode(signature, digits); err != nil {
		return nil, errors.New("\"signature\" is not 0x and hex digits")
	}
	if len(signature) == signatureSize && signature[64] < 2 {
		signature[64] += 27
		hex.Encode(digits[128:], signature[64:])
	}
	return signature, nil
}

func (o object) address(name string) (Address, error) {
	s, err := o.text(name)
	if err != nil {
		return Address{}, err
	}
	a, err := ParseAddress(s)
	if err != nil {
		return Address{}, fmt.Errorf("%q: %v", name, err)
	}
	return a, nil
}

func (o object) word(name string) (word, error) {
	s, err := o.text(name)
	if err != nil {
		return word{}, err
	}
	w, err := parseWord(s)
	if err != nil {
		return word{}, fmt.Errorf("%q %v", name, err)
	}
	return w, nil
}

// ResourceURL is the resource that the buyer says it pays for, neither cleaned
// nor signed; empty when it does not say, as in version 1.
func (p *Payment) ResourceURL() string { return p.resource }
