package chain_test

import (
	"crypto/ecdsa"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

var (
	buyer  = chain.AddressOf(chain.BuyerKey())
	seller = common.HexToAddress("0x00000000000000000000000000000000005e11e7")
)

// start is a chain of the test's own.
func start(t *testing.T, dir string) *chain.Chain {
	t.Helper()
	c, err := chain.Start(chain.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// call asks a contract, as the facilitator, and changes nothing.
func call(t *testing.T, c *chain.Chain, to common.Address, data []byte) ([]byte, error) {
	t.Helper()
	from := chain.AddressOf(chain.FacilitatorKey())
	return c.Client().CallContract(t.Context(), ethereum.CallMsg{From: from, To: &to, Data: data}, nil)
}

// pack encodes the call of the one method of this name that takes so many
// arguments.
func pack(t *testing.T, of abi.ABI, method string, args ...any) []byte {
	t.Helper()
	for name, m := range of.Methods {
		if m.RawName == method && len(m.Inputs) == len(args) {
			data, err := of.Pack(name, args...)
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatalf("there is no method %s with %d arguments", method, len(args))
	return nil
}

// ask returns the one value of a view.
func ask(t *testing.T, c *chain.Chain, at common.Address, of abi.ABI, method string, args ...any) any {
	t.Helper()
	out, err := call(t, c, at, pack(t, of, method, args...))
	if err != nil {
		t.Fatalf("%s: %v", method, err)
	}
	values, err := of.Unpack(method, out)
	if err != nil {
		t.Fatal(err)
	}
	return values[0]
}

func balance(t *testing.T, c *chain.Chain, token, of common.Address) *big.Int {
	t.Helper()
	return ask(t, c, token, c.Contracts.Token, "balanceOf", of).(*big.Int)
}

// transact sends a transaction and returns its receipt.
func transact(t *testing.T, c *chain.Chain, key *ecdsa.PrivateKey, to common.Address, data []byte) *types.Receipt {
	t.Helper()
	nonce, err := c.Client().NonceAt(t.Context(), chain.AddressOf(key), nil)
	if err != nil {
		t.Fatal(err)
	}
	tx, err := types.SignNewTx(key, types.LatestSignerForChainID(big.NewInt(chain.ID)), &types.DynamicFeeTx{
		ChainID: big.NewInt(chain.ID), Nonce: nonce, To: &to, Data: data, Gas: 400_000,
		GasTipCap: big.NewInt(params.GWei), GasFeeCap: big.NewInt(100 * params.GWei),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Await(t.Context(), tx.Hash())
	if err != nil {
		t.Fatal(err)
	}
	return receipt
}

// blockTime is the time of the newest block, in seconds.
func blockTime(t *testing.T, c *chain.Chain) uint64 {
	t.Helper()
	header, err := c.Client().HeaderByNumber(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	return header.Time
}

// TestBlocksFollowTheClock: also when nobody asks for any, and when many do.
func TestBlocksFollowTheClock(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	first := blockTime(t, c)
	for end := time.Now().Add(10 * time.Second); blockTime(t, c) < first+2; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no second block in ten seconds")
		}
	}
	mint := pack(t, c.Contracts.Token, "mint", seller, big.NewInt(1))
	const more = 3
	furthest := int64(0)
	for range chain.MaxAhead + more {
		if r := transact(t, c, chain.FacilitatorKey(), chain.USDC, mint); r.Status != types.ReceiptStatusSuccessful {
			t.Fatal("mint failed")
		}
		furthest = max(furthest, int64(blockTime(t, c))-time.Now().Unix())
	}
	if furthest < 1 || furthest > chain.MaxAhead {
		t.Errorf("blocks that were asked for are up to %d seconds ahead of the clock", furthest)
	}
	if got := balance(t, c, chain.USDC, seller); got.Cmp(big.NewInt(chain.MaxAhead+more)) != 0 {
		t.Errorf("the seller has %d", got)
	}
}

func TestNextSeal(t *testing.T) {
	t.Parallel()
	if got := chain.NextSeal(100, false); !got.Equal(time.Unix(101, 0)) {
		t.Errorf("unasked, a block follows that of 100 at %d", got.Unix())
	}
	if got := chain.NextSeal(100, true); !got.Equal(time.Unix(101-chain.MaxAhead, 0)) {
		t.Errorf("asked, a block follows that of 100 at %d", got.Unix())
	}
}

// TestRestartGoesOn: what was paid stays paid, and is not paid again, whether the
// chain was closed or its process killed, which leaves the files as they are.
func TestRestartGoesOn(t *testing.T) {
	t.Parallel()
	closed, killed := t.TempDir(), t.TempDir()
	first, err := chain.Start(chain.Options{Dir: closed})
	if err != nil {
		t.Fatal(err)
	}
	a := authorize(first, t, func(*authorization) {})
	r := transact(t, first, chain.FacilitatorKey(), chain.USDC, a.inOnePiece(t, first))
	if r.Status != types.ReceiptStatusSuccessful {
		t.Fatal("the transfer failed")
	}
	if err := os.CopyFS(killed, os.DirFS(closed)); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"closed": closed, "killed": killed} {
		second := start(t, dir)
		if got := balance(t, second, chain.USDC, seller); got.Cmp(a.value) != 0 {
			t.Errorf("%s: the seller has %d", name, got)
		}
		if after, err := second.Client().BlockNumber(t.Context()); err != nil || after < r.BlockNumber.Uint64() {
			t.Errorf("%s: the chain is at block %d, not %d (%v)", name, after, r.BlockNumber, err)
		}
		_, err := call(t, second, chain.USDC, a.inOnePiece(t, second))
		if err == nil || !strings.Contains(err.Error(), "used") {
			t.Errorf("%s: the same authorization is answered %v", name, err)
		}
	}
}

// TestJSONRPC is the chain as other programs see it.
func TestJSONRPC(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	tests := map[string]string{
		"eth_chainId":    `"0x14a34"`,
		"net_version":    `"84532"`,
		"eth_syncing":    `false`,
		"admin_nodeInfo": "",
		"debug_setHead":  "",
	}
	for method, want := range tests {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":%q,"params":[]}`, method)
			resp, err := http.Post(c.URL(), "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			var answer struct{ Result, Error json.RawMessage }
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
				t.Fatal(err)
			}
			if string(answer.Result) != want || (answer.Error == nil) != (want != "") {
				t.Errorf("it answers %s, error %s", answer.Result, answer.Error)
			}
		})
	}
	if !strings.HasPrefix(c.URL(), "http://127.0.0.1:") {
		t.Errorf("it listens at %s", c.URL())
	}
}
