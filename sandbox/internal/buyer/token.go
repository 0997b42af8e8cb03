package buyer

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/ethereum/go-ethereum"
	"github.com/ethereum/go-ethereum/accounts/abi"
	"github.com/ethereum/go-ethereum/common"
)

// A token is how amounts of an asset are told to people.
type token struct {
	symbol   string
	decimals int
}

// say writes an amount of the smallest unit, such as 0.001 USDC.
func (t token) say(amount *big.Int) string {
	digits := fmt.Sprintf("%0*d", t.decimals+1, amount)
	whole, fraction := digits[:len(digits)-t.decimals], strings.TrimRight(digits[len(digits)-t.decimals:], "0")
	if fraction != "" {
		fraction = "." + fraction
	}
	return whole + fraction + " " + t.symbol
}

const tokenABI = `[
	{"type":"function","name":"symbol","inputs":[],"outputs":[{"type":"string"}]},
	{"type":"function","name":"decimals","inputs":[],"outputs":[{"type":"uint8"}]},
	{"type":"function","name":"balanceOf","inputs":[{"name":"account","type":"address"}],"outputs":[{"type":"uint256"}]}
]`

func (b Buyer) ask(ctx context.Context, asset common.Address, method string, args ...any) (any, error) {
	methods, err := abi.JSON(strings.NewReader(tokenABI))
	if err != nil {
		return nil, fmt.Errorf("cannot read the interface of tokens: %v", err)
	}
	data, err := methods.Pack(method, args...)
	if err != nil {
		return nil, fmt.Errorf("cannot ask for %s: %v", method, err)
	}
	answer, err := b.Chain.CallContract(ctx, ethereum.CallMsg{To: &asset, Data: data}, nil)
	if err != nil {
		return nil, fmt.Errorf("cannot ask %s for %s: %v", asset, method, err)
	}
	values, err := methods.Unpack(method, answer)
	if err != nil {
		return nil, fmt.Errorf("%s is no token: %v", asset, err)
	}
	return values[0], nil
}

func (b Buyer) lookUp(ctx context.Context, asset common.Address) (token, error) {
	symbol, err := b.ask(ctx, asset, "symbol")
	if err != nil {
		return token{}, err
	}
	decimals, err := b.ask(ctx, asset, "decimals")
	if err != nil {
		return token{}, err
	}
	return token{symbol.(string), int(decimals.(uint8))}, nil
}

func (b Buyer) balance(ctx context.Context, asset, of common.Address) (*big.Int, error) {
	v, err := b.ask(ctx, asset, "balanceOf", of)
	if err != nil {
		return nil, err
	}
	return v.(*big.Int), nil
}

// balances is what buyer and seller have, in this order.
func (b Buyer) balances(ctx context.Context, o option) ([2]*big.Int, error) {
	buyer, err := b.balance(ctx, o.asset, b.address())
	if err != nil {
		return [2]*big.Int{}, err
	}
	seller, err := b.balance(ctx, o.asset, o.payTo)
	return [2]*big.Int{buyer, seller}, err
}

func (b Buyer) printBalances(ctx context.Context, o option, before [2]*big.Int) error {
	after, err := b.balances(ctx, o)
	if err != nil {
		return err
	}
	for i, who := range []string{"buyer " + b.address().Hex(), "seller " + o.payTo.Hex()} {
		fmt.Fprintf(b.Out, "%s  %s → %s\n", who, o.token.say(before[i]), o.token.say(after[i]))
	}
	return nil
}
