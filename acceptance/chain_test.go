//go:build cluster

package acceptance_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"testing"
)

// A chain is the simulated one, asked over JSON-RPC.
type chain struct {
	rpc         string
	facilitator string  // an honest one over it
	buyer       account // has plenty of each token, has allowed Permit2 to spend them, and has ether
}

func (c *chain) call(t testing.TB, method string, params ...any) json.RawMessage {
	t.Helper()
	question, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.Post(c.rpc, "application/json", bytes.NewReader(question))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var said struct {
		Result json.RawMessage
		Error  *struct{ Message string }
	}
	if err := json.NewDecoder(got.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if said.Error != nil {
		t.Fatalf("%s: %s", method, said.Error.Message)
	}
	return said.Result
}

// read calls a function of a contract and gives the word that it returns.
func (c *chain) read(t testing.TB, contract, function string, words ...[]byte) *big.Int {
	t.Helper()
	selector := keccak([]byte(function))
	data := append(selector[:4:4], bytes.Join(words, nil)...)
	result := c.call(t, "eth_call", map[string]string{"to": contract, "data": hexOf(data)}, "latest")
	var text string
	if err := json.Unmarshal(result, &text); err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
	if err != nil || len(b) != 32 {
		t.Fatalf("%s = %q, want a word", function, text)
	}
	return new(big.Int).SetBytes(b)
}

func (c *chain) balance(t testing.TB, token, of string) *big.Int {
	t.Helper()
	return c.read(t, token, "balanceOf(address)", addressWord(of))
}

// settled tells whether a claim was spent.
func (c *chain) settled(t testing.TB, of claim) bool {
	t.Helper()
	if !of.permit {
		return c.read(t, usdc, "authorizationState(address,bytes32)", addressWord(of.payer), of.nonce[:]).Sign() != 0
	}
	nonce := new(big.Int).SetBytes(of.nonce[:])
	word := c.read(t, permit2, "nonceBitmap(address,uint256)", addressWord(of.payer), wordOf(new(big.Int).Rsh(nonce, 8)))
	return word.Bit(int(of.nonce[31])) == 1
}

// mined tells whether a transaction is on the chain and succeeded.
func (c *chain) mined(t testing.TB, hash string) bool {
	t.Helper()
	var receipt *struct{ Status string }
	if err := json.Unmarshal(c.call(t, "eth_getTransactionReceipt", hash), &receipt); err != nil {
		t.Fatal(err)
	}
	return receipt != nil && receipt.Status == "0x1"
}

// settle has the facilitator settle a payment, as anybody can.
func (c *chain) settle(t testing.TB, q quote, p payment) {
	t.Helper()
	request, err := json.Marshal(map[string]any{"x402Version": p.version, "paymentPayload": p.doc, "paymentRequirements": q.accepts})
	if err != nil {
		t.Fatal(err)
	}
	got, err := http.Post(c.facilitator+"/settle", "application/json", bytes.NewReader(request))
	if err != nil {
		t.Fatal(err)
	}
	defer got.Body.Close()
	var said struct {
		Success     bool
		ErrorReason string
	}
	if err := json.NewDecoder(got.Body).Decode(&said); err != nil {
		t.Fatal(err)
	}
	if !said.Success {
		t.Fatalf("the facilitator does not settle: %s", said.ErrorReason)
	}
}

// give moves USDC from the buyer to an account.
func (c *chain) give(t testing.TB, to string, amount *big.Int) {
	t.Helper()
	q := quote{challenge: map[string]any{"resource": map[string]any{"url": "https://bank.example/"}}, accepts: map[string]any{
		"scheme": "exact", "network": fmt.Sprintf("eip155:%d", chainID), "asset": usdc, "payTo": to, "amount": amount.String(),
		"maxTimeoutSeconds": 60.0, "extra": map[string]any{"name": "USDC", "version": "2"},
	}}
	c.settle(t, q, c.buyer.pay(q, 2, q.honest(c.buyer.address)))
}
