package buyer

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"

	"github.com/ethereum/go-ethereum/common"
)

// asked is what a 402 asks for.
type asked struct {
	version    int
	options    []json.RawMessage // as they were sent
	resource   json.RawMessage   // version 2
	extensions json.RawMessage   // version 2
}

// readChallenge reads version 2 from its header, if it is there and wanted, and
// otherwise what the body says.
func readChallenge(h http.Header, body []byte, v1 bool) (*asked, error) {
	header := h.Get("PAYMENT-REQUIRED")
	if header == "" && !v1 && len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("its 402 says nothing: there is no PAYMENT-REQUIRED and no body")
	}
	if header != "" && !v1 {
		var err error
		if body, err = base64.StdEncoding.Strict().DecodeString(header); err != nil {
			return nil, fmt.Errorf("PAYMENT-REQUIRED is malformed: %v", err)
		}
	}
	var c struct {
		Version    int               `json:"x402Version"`
		Accepts    []json.RawMessage `json:"accepts"`
		Resource   json.RawMessage   `json:"resource"`
		Extensions json.RawMessage   `json:"extensions"`
	}
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("its 402 is malformed: %v", err)
	}
	if c.Version != 1 && (c.Version != 2 || v1) {
		return nil, fmt.Errorf("its 402 is of x402 version %d", c.Version)
	}
	return &asked{c.Version, c.Accepts, c.Resource, c.Extensions}, nil
}

// An option is one way to pay.
type option struct {
	raw           json.RawMessage
	scheme        string
	network       string
	amount        *big.Int
	asset, payTo  common.Address
	timeout       int64 // seconds
	permit2       bool
	name, version string // of the token's EIP-712 domain
	token         token
}

func (a *asked) read(raw json.RawMessage) (option, error) {
	var o struct {
		Scheme            string `json:"scheme"`
		Network           string `json:"network"`
		Amount            string `json:"amount"`
		MaxAmountRequired string `json:"maxAmountRequired"`
		Asset             string `json:"asset"`
		PayTo             string `json:"payTo"`
		MaxTimeoutSeconds int64  `json:"maxTimeoutSeconds"`
		Extra             struct {
			Name                string `json:"name"`
			Version             string `json:"version"`
			AssetTransferMethod string `json:"assetTransferMethod"`
			PaymentFlow         string `json:"paymentFlow"`
		} `json:"extra"`
	}
	if err := json.Unmarshal(raw, &o); err != nil {
		return option{}, err
	}
	text := o.Amount
	if a.version == 1 {
		text = o.MaxAmountRequired
	}
	amount, ok := new(big.Int).SetString(text, 10)
	switch method, flow := o.Extra.AssetTransferMethod, o.Extra.PaymentFlow; {
	case !ok || amount.Sign() < 0 || amount.BitLen() > 256:
		return option{}, fmt.Errorf("it costs %q", text)
	case !common.IsHexAddress(o.Asset) || !common.IsHexAddress(o.PayTo):
		return option{}, errors.New("it is not to be paid with a token, to an account")
	case method != "" && method != "eip3009" && method != "permit2":
		return option{}, fmt.Errorf("its transfer method is %q", method)
	case flow != "" && flow != "authorization" && flow != "upfront":
		return option{}, fmt.Errorf("its flow is %q", flow)
	}
	return option{
		raw: raw, scheme: o.Scheme, network: o.Network, amount: amount,
		asset: common.HexToAddress(o.Asset), payTo: common.HexToAddress(o.PayTo),
		timeout: o.MaxTimeoutSeconds, permit2: o.Extra.AssetTransferMethod == "permit2",
		name: o.Extra.Name, version: o.Extra.Version,
	}, nil
}

// choose prints each way to pay, and returns the first that the buyer can take.
func (b Buyer) choose(ctx context.Context, a *asked, asset string) (option, error) {
	fmt.Fprintf(b.Out, "it asks, in x402 version %d, for one of\n", a.version)
	var chosen *option
	for _, raw := range a.options {
		o, err := a.read(raw)
		if err == nil {
			err = b.canPay(ctx, a.version, &o, asset)
		}
		switch {
		case err != nil && o.amount == nil:
			fmt.Fprintf(b.Out, "  %.200q: not understood: %v\n", raw, err)
		case err != nil:
			fmt.Fprintf(b.Out, "  %s: %v\n", o, err)
		case chosen != nil:
			fmt.Fprintf(b.Out, "  %s\n", o)
		default:
			chosen = &o
			fmt.Fprintf(b.Out, "  %s: taken\n", o)
		}
	}
	if chosen == nil {
		return option{}, errors.New("there is no way to pay that this buyer can take")
	}
	return *chosen, nil
}

// String is the terms for people.
func (o option) String() string {
	method := "EIP-3009"
	if o.permit2 {
		method = "Permit2"
	}
	return fmt.Sprintf("%s to %s on %s, scheme %s by %s", o.token.say(o.amount), o.payTo, o.network, o.scheme, method)
}

// canPay says why the buyer cannot take a way to pay. It looks its token up.
func (b Buyer) canPay(ctx context.Context, version int, o *option, asset string) error {
	o.token = token{symbol: o.asset.Hex()}
	network := fmt.Sprintf("eip155:%d", b.ID)
	if version == 1 {
		network = v1Networks[b.ID]
	}
	switch {
	case o.network != network:
		return errors.New("it is on another chain than the sandbox's")
	case o.scheme != "exact":
		return errors.New("the scheme is not known here")
	case !o.permit2 && (o.name == "" || o.version == ""):
		return errors.New("it does not tell the token's EIP-712 domain")
	}
	t, err := b.lookUp(ctx, o.asset)
	if err != nil {
		return err
	}
	o.token = t
	if asset != "" && !strings.EqualFold(asset, t.symbol) && !strings.EqualFold(asset, o.asset.Hex()) {
		return errors.New("another asset is wanted")
	}
	balance, err := b.balance(ctx, o.asset, b.address())
	if err != nil {
		return err
	}
	if balance.Cmp(o.amount) < 0 {
		return fmt.Errorf("the buyer has %s", t.say(balance))
	}
	return nil
}

// v1Networks is how version 1 calls the chains that a sandbox may be.
var v1Networks = map[uint64]string{84532: "base-sepolia"}
