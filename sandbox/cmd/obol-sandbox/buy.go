package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/sandbox/internal/buyer"
	"github.com/obolctl/obolctl/sandbox/internal/cluster"
)

func buy() *cli.Command {
	return &cli.Command{
		Name:      "buy",
		Usage:     "ask URL, pay what it asks on the sandbox's chain, and show the answer and the receipt",
		ArgsUsage: "URL",
		Description: "It exits with 0 when an answer was had and the chain shows that just its price was paid, and\n" +
			"with 1 otherwise.",
		Flags: []cli.Flag{
			dirFlag(),
			&cli.StringFlag{Name: "X", DefaultText: "GET, or POST with -d", Usage: "ask with `METHOD`"},
			&cli.StringFlag{Name: "d", Usage: "send `BODY`"},
			&cli.StringSliceFlag{Name: "H", Usage: "send the header `NAME: VALUE`; more than one is possible"},
			&cli.BoolFlag{Name: "v1", DisableDefaultText: true, Usage: "pay by version 1 of the protocol"},
			&cli.StringFlag{Name: "asset", DefaultText: "the first that will do",
				Usage: "pay with the token `ASSET`, an address or a symbol"},
			&cli.DurationFlag{Name: "timeout", Value: 2 * time.Minute, Usage: "give up after `DURATION`"},
		},
		Action: func(c *cli.Context) error {
			r, err := request(c)
			if err != nil {
				return usageError{err}
			}
			b, err := theBuyer(c)
			if err != nil {
				return err
			}
			defer b.Chain.Close()
			ctx, stop := context.WithTimeout(c.Context, c.Duration("timeout"))
			defer stop()
			return b.Buy(ctx, r)
		},
	}
}

// argumentLast moves the argument of buy and upstream behind the flags, where the
// library looks for it.
func argumentLast(args []string) []string {
	if len(args) < 3 || args[1] != "buy" && args[1] != "upstream" || strings.HasPrefix(args[2], "-") {
		return args
	}
	return slices.Concat(args[:2], args[3:], args[2:3])
}

// request is what the command line asks to buy.
func request(c *cli.Context) (buyer.Request, error) {
	r := buyer.Request{
		Method: c.String("X"), URL: c.Args().First(), Body: c.String("d"),
		Header: make(http.Header), V1: c.Bool("v1"), Asset: c.String("asset"),
	}
	for _, h := range c.StringSlice("H") {
		name, value, ok := strings.Cut(h, ":")
		if !ok {
			return r, fmt.Errorf("%q is no header: it has no colon", h)
		}
		r.Header.Add(strings.TrimSpace(name), strings.TrimSpace(value))
	}
	switch {
	case r.URL == "":
		return r, errors.New("buy needs a URL")
	case c.Args().Len() > 1:
		return r, fmt.Errorf("%q is one argument too many", c.Args().Get(1))
	case c.String("dir") == "":
		return r, errors.New("buy needs --dir, the folder of the sandbox")
	}
	return r, nil
}

// theBuyer is the one who has tokens on the sandbox's chain.
func theBuyer(c *cli.Context) (buyer.Buyer, error) {
	sandbox, err := cluster.In(c.String("dir"))
	if err != nil {
		return buyer.Buyer{}, err
	}
	d, err := sandbox.Describe()
	if err != nil {
		return buyer.Buyer{}, err
	}
	if d.RPC == nil || d.PIDs["chain"] == 0 {
		return buyer.Buyer{}, errors.New("the sandbox has no chain that runs")
	}
	key, err := crypto.HexToECDSA(strings.TrimPrefix(*d.BuyerKey, "0x"))
	if err != nil {
		return buyer.Buyer{}, fmt.Errorf("cannot read the buyer's key: %v", err)
	}
	rpc, err := ethclient.DialContext(c.Context, *d.RPC)
	if err != nil {
		return buyer.Buyer{}, fmt.Errorf("cannot reach the chain: %v", err)
	}
	return buyer.Buyer{Key: key, Chain: rpc, ID: uint64(*d.ChainID), Out: c.App.Writer}, nil
}
