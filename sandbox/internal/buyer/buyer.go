// Package buyer buys from an x402 seller for real, on the sandbox's chain. It
// shares no code with the gateway and the facilitator, so that the three judge
// each other.
package buyer

import (
	"context"
	"crypto/ecdsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
)

// A Buyer has an account on one chain and pays on no other.
type Buyer struct {
	Key   *ecdsa.PrivateKey
	Chain *ethclient.Client
	ID    uint64    // of the chain
	Out   io.Writer // what happens, for people
}

// A Request is what to buy.
type Request struct {
	Method string // empty: GET, or POST with a body
	URL    string
	Header http.Header
	Body   string
	V1     bool   // pay by version 1 of the protocol, also when version 2 is offered
	Asset  string // the address or symbol of the token to pay with; empty: the first that will do
}

const (
	shown     = 16 << 10 // bytes of an answer that are printed
	challenge = 64 << 10 // bytes of a 402 that are read
)

// Buy asks, pays what is asked, and says how it went. It fails unless an answer
// was had, and a transaction on the chain paid just its price.
func (b Buyer) Buy(ctx context.Context, r Request) error {
	if err := b.checkChain(ctx); err != nil {
		return err
	}
	first, err := b.send(ctx, r, nil)
	if err != nil {
		return err
	}
	defer first.Body.Close()
	if first.StatusCode != http.StatusPaymentRequired {
		return errors.Join(fmt.Errorf("it asks for no payment: it answers %s", first.Status), b.printBody(first.Body))
	}
	body, err := io.ReadAll(io.LimitReader(first.Body, challenge))
	if err != nil {
		return fmt.Errorf("cannot read what it asks for: %v", err)
	}
	asked, err := readChallenge(first.Header, body, r.V1)
	if err != nil {
		return err
	}
	chosen, err := b.choose(ctx, asked, r.Asset)
	if err != nil {
		return err
	}
	before, err := b.balances(ctx, chosen)
	if err != nil {
		return err
	}
	header, err := b.pay(asked, chosen)
	if err != nil {
		return err
	}
	second, err := b.send(ctx, r, header)
	if err != nil {
		return fmt.Errorf("the payment was sent, and what became of it is not known: %w", err)
	}
	defer second.Body.Close()
	broken := b.printBody(second.Body)
	return errors.Join(broken, b.check(ctx, second, chosen), b.printBalances(ctx, chosen, before))
}

// checkChain fails if the chain is another than it should be.
func (b Buyer) checkChain(ctx context.Context) error {
	id, err := b.Chain.ChainID(ctx)
	if err != nil {
		return fmt.Errorf("cannot ask the chain: %v", err)
	}
	if !id.IsUint64() || id.Uint64() != b.ID {
		return fmt.Errorf("this is chain %d, not the sandbox's, which is %d: nothing is paid here", id, b.ID)
	}
	return nil
}

// send makes the request, with a payment if there is one, and says what is
// answered. It follows no redirect: a payment is for who asked for it.
func (b Buyer) send(ctx context.Context, r Request, payment http.Header) (*http.Response, error) {
	method := r.Method
	if method == "" {
		method = http.MethodGet
		if r.Body != "" {
			method = http.MethodPost
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL, strings.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("cannot ask: %w", err)
	}
	for name, values := range r.Header {
		req.Header[name] = values
	}
	req.Host = req.Header.Get("Host") // empty: that of the URL
	paying := ""
	for name, values := range payment {
		req.Header[name] = values
		paying = ", paying with " + name
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("cannot ask: %w", err)
	}
	fmt.Fprintf(b.Out, "%s %s%s: %s\n", method, r.URL, paying, resp.Status)
	return resp, nil
}

// printBody prints the beginning of an answer, and reads all of it. It fails if
// the answer broke off.
func (b Buyer) printBody(body io.Reader) error {
	head, err := io.ReadAll(io.LimitReader(body, shown))
	text := strings.TrimRight(string(head), "\n")
	if len(head) == shown && err == nil {
		var rest int64
		rest, err = io.Copy(io.Discard, body)
		text += fmt.Sprintf("\n(%d bytes more)", rest)
	}
	fmt.Fprintf(b.Out, "\n%s\n\n", text)
	if err != nil {
		return fmt.Errorf("the answer broke off: %w", err)
	}
	return nil
}

// receipt is what a seller says of a settlement.
type receipt struct {
	Success     bool   `json:"success"`
	Transaction string `json:"transaction"`
	Network     string `json:"network"`
	Payer       string `json:"payer"`
	Reason      string `json:"errorReason"`
}

// readReceipt finds the receipt in the headers, or in the trailers of a stream.
func readReceipt(resp *http.Response) (*receipt, error) {
	for _, h := range []http.Header{resp.Header, resp.Trailer} {
		for _, name := range []string{"PAYMENT-RESPONSE", "X-PAYMENT-RESPONSE"} {
			text := h.Get(name)
			if text == "" {
				continue
			}
			r := new(receipt)
			data, err := base64.StdEncoding.Strict().DecodeString(text)
			if err == nil {
				err = json.Unmarshal(data, r)
			}
			if err != nil {
				return nil, fmt.Errorf("%s is malformed: %v", name, err)
			}
			return r, nil
		}
	}
	return nil, errors.New("there is no receipt")
}

// check fails unless what was answered and paid is what was agreed.
func (b Buyer) check(ctx context.Context, resp *http.Response, o option) error {
	r, err := readReceipt(resp)
	switch {
	case resp.StatusCode >= 300 && err != nil:
		return fmt.Errorf("it answers %s", resp.Status)
	case resp.StatusCode >= 300:
		return fmt.Errorf("it answers %s: %s", resp.Status, r.Reason)
	case err != nil:
		return err
	case !r.Success:
		return fmt.Errorf("it was answered and not paid: %s", r.Reason)
	}
	fmt.Fprintf(b.Out, "transaction  %s on %s\n", r.Transaction, r.Network)
	mined, err := b.Chain.TransactionReceipt(ctx, common.HexToHash(r.Transaction))
	if err != nil {
		return fmt.Errorf("the receipt names a transaction that the chain does not have: %w", err)
	}
	if mined.Status != types.ReceiptStatusSuccessful || !b.moved(mined, o) {
		return errors.New("the receipt names a transaction that does not pay this")
	}
	return nil
}

// moved tells whether a transaction moved just the price from us to the seller.
func (b Buyer) moved(mined *types.Receipt, o option) bool {
	from := b.address()
	for _, l := range mined.Logs {
		if l.Address == o.asset && len(l.Topics) == 3 &&
			l.Topics[0] == crypto.Keccak256Hash([]byte("Transfer(address,address,uint256)")) &&
			l.Topics[1] == common.BytesToHash(from[:]) &&
			l.Topics[2] == common.BytesToHash(o.payTo[:]) &&
			common.BytesToHash(l.Data) == common.BigToHash(o.amount) {
			return true
		}
	}
	return false
}

func (b Buyer) address() common.Address { return crypto.PubkeyToAddress(b.Key.PublicKey) }
