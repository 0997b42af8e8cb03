package chain_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// TestTakesWhatThePublishedClientSigns: the npm package @x402/evm 2.27.0 made
// these with the buyer's key. They are good until 2090.
func TestTakesWhatThePublishedClientSigns(t *testing.T) {
	t.Parallel()
	c := start(t, "")
	big10 := func(s string) *big.Int {
		n, ok := new(big.Int).SetString(s, 10)
		if !ok {
			t.Fatal(s)
		}
		return n
	}
	transfer := authorization{
		from: buyer, to: seller, value: big.NewInt(1000), validAfter: new(big.Int), validBefore: big.NewInt(3795685785),
		nonce: common.HexToHash("0xd96b5dd264a41b427e5f359540c15b2fff76a3bba98a6ea80d0944672ed0bf12"),
		signature: hexutil.MustDecode("0x941846145b91b19d56a51857a35299973ccd2e92d1a124c83f394027969614c7" +
			"5aec208d9e6d1e473242c2029c9b9b78ebca448b994b654861e9bbac57b481731b"),
	}
	byPermit2 := payment{
		permit: permit{
			permitted{chain.OBOL, big.NewInt(1000)},
			big10("15099127021071886105410367907149797265261227657157181860306350856434591801370"), big.NewInt(3795685785),
		},
		owner: buyer, witness: witness{seller, new(big.Int)},
		signature: hexutil.MustDecode("0x75b4103fc3187efe56d1e47b25e4abc19b4780b23d78aece90c70ff00dd1bd09" +
			"72ce2435513a68fe2f96f047ab770a34bc52e3848e072386530b0ea8be4129fd1b"),
	}
	for _, tc := range []struct {
		to, token common.Address
		data      []byte
	}{
		{chain.USDC, chain.USDC, transfer.inThree(t, c)},
		{chain.Proxy, chain.OBOL, byPermit2.call(t, c)},
	} {
		if r := transact(t, c, chain.FacilitatorKey(), tc.to, tc.data); r.Status != types.ReceiptStatusSuccessful {
			t.Errorf("%s: the transaction failed", tc.to)
		}
		if got := balance(t, c, tc.token, seller); got.Int64() != 1000 {
			t.Errorf("%s: the seller has %d", tc.token, got)
		}
	}
}
