package main

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/sandbox/internal/cluster"
	"github.com/obolctl/obolctl/sandbox/internal/facilitator"
	"github.com/obolctl/obolctl/sandbox/internal/process"
)

// chainPorts is the flags for the ports of the chain's process.
func chainPorts() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: "facilitator-port", DefaultText: "a free one", Usage: "let the facilitator listen at `PORT`"},
		&cli.IntFlag{Name: "rpc-port", DefaultText: "a free one", Usage: "let the chain's JSON-RPC listen at `PORT`"},
	}
}

func chainAlone() *cli.Command {
	return &cli.Command{
		Name:  "chain",
		Usage: "run the simulated chain and its facilitator alone, without a cluster, in the foreground",
		Description: "It says so in one line when they answer, and DIR/sandbox.json says where. It ends at SIGINT\n" +
			"or SIGTERM, and, when its standard input is a pipe, at the end of that: so it does not outlive\n" +
			"the program that started it. The chain is kept in DIR; ports are free ones unless given.\n" +
			"\n" +
			"How the facilitator behaves is said with PUT /behave, how often it was asked with GET /calls.",
		Flags: append([]cli.Flag{
			dirFlag(),
			&cli.BoolFlag{Name: "instant", DisableDefaultText: true,
				Usage: "without a chain: take every well-formed payment, and settle it at once"},
		}, chainPorts()...),
		Action: func(c *cli.Context) error {
			sandbox, err := at(c)
			if err != nil {
				return err
			}
			ports := cluster.Ports{Facilitator: c.Int("facilitator-port"), RPC: c.Int("rpc-port")}
			if err := ports.Check(); err != nil {
				return usageError{err}
			}
			ctx, stop := untilEnd(c.Context, os.Stdin)
			defer stop()
			return sandbox.Chain(ctx, ports, c.Bool("instant"), func(d *cluster.Description) error {
				over := "no chain"
				if d.RPC != nil {
					over = *d.RPC
				}
				fmt.Fprintf(c.App.Writer, "the facilitator is up: %s, over %s\n", *d.Facilitator, over)
				return nil
			})
		},
	}
}

// untilEnd gives a context that is done when a pipe ends. What is no pipe has no
// end.
func untilEnd(ctx context.Context, in *os.File) (context.Context, context.CancelFunc) {
	ctx, stop := context.WithCancel(ctx)
	info, err := in.Stat()
	if err == nil && info.Mode()&os.ModeNamedPipe != 0 {
		go func() {
			defer stop()
			_, _ = io.Copy(io.Discard, in) // it ends, whatever the reason
		}()
	}
	return ctx, stop
}

// runChain is the process of the chain and the facilitator; up starts it.
func runChain() *cli.Command {
	return &cli.Command{
		Name:   cluster.ChainCommand,
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Required: true},
			&cli.IntFlag{Name: "port", Required: true},
			&cli.IntFlag{Name: "rpc-port", Required: true},
		},
		Action: func(c *cli.Context) error {
			if err := process.Gate(os.Stdin); err != nil {
				return err
			}
			return facilitator.Run(c.Context, facilitator.Options{
				Dir: c.String("data"), Port: c.Int("port"), RPCPort: c.Int("rpc-port"),
			}, process.Ready)
		},
	}
}
