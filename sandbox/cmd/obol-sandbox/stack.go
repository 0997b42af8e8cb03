package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"k8s.io/apimachinery/pkg/types"

	"github.com/obolctl/obolctl/sandbox/internal/cluster"
	"github.com/obolctl/obolctl/sandbox/internal/node"
	"github.com/obolctl/obolctl/sandbox/internal/process"
	"github.com/obolctl/obolctl/sandbox/internal/stack"
)

// kindFlags say what a sandbox is when it is first brought up.
func kindFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "bare", DisableDefaultText: true,
			Usage: "a cluster in which nothing reconciles, without the stack; the folder stays so"},
		&cli.BoolFlag{Name: "reprobe", DisableDefaultText: true,
			Usage: "let the controller ask the upstreams of Ready offers too, which the stack's does not; the folder stays so"},
		&cli.IntFlag{Name: "edge-port", DefaultText: "a free one",
			Usage: "let the edge, which is what buyers see, listen at `PORT`"},
	}
}

func kindOf(c *cli.Context) (cluster.Kind, error) {
	kind := cluster.Kind{Bare: c.Bool("bare"), Reprobe: c.Bool("reprobe")}
	if kind.Bare && (kind.Reprobe || c.IsSet("edge-port")) {
		return kind, usageError{fmt.Errorf("a bare sandbox has no controller and no edge")}
	}
	return kind, nil
}

// answerLimit is how long upstream waits for the node.
const answerLimit = 15 * time.Second

func upstream() *cli.Command {
	return &cli.Command{
		Name:      "upstream",
		Usage:     "let something answer for a Service, which is made if it is missing",
		ArgsUsage: "NAME",
		Description: "It returns when the Service answers: 2xx at any path, and what it was asked, as JSON. It goes on\n" +
			"answering after a reboot of the sandbox. With --stop it stops, and the Service stays.",
		Flags: []cli.Flag{
			dirFlag(),
			&cli.StringFlag{Name: "namespace", Aliases: []string{"n"}, Value: "default", Usage: "the Service is in namespace `NS`"},
			&cli.IntFlag{Name: "port", Usage: "the Service has port `P`"},
			&cli.BoolFlag{Name: "stop", DisableDefaultText: true, Usage: "let nothing answer"},
		},
		Action: func(c *cli.Context) error {
			service := types.NamespacedName{Namespace: c.String("namespace"), Name: c.Args().First()}
			port := c.Int("port")
			switch {
			case c.NArg() != 1:
				return usageError{fmt.Errorf("upstream needs one argument, the name of a Service")}
			case port < 1 || port > 65535:
				return usageError{fmt.Errorf("upstream needs --port, from 1 to 65535")}
			}
			sandbox, err := in(c)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(c.Context, answerLimit)
			defer cancel()
			if err := setUpstream(ctx, sandbox, service, int32(port), !c.Bool("stop")); err != nil {
				return err
			}
			how := "answers"
			if c.Bool("stop") {
				how = "does not answer"
			}
			fmt.Fprintf(c.App.Writer, "Service %s %s at port %d\n", service, how, port)
			return nil
		},
	}
}

func setUpstream(ctx context.Context, sandbox *cluster.Cluster, service types.NamespacedName, port int32, answer bool) error {
	o, err := sandbox.Stack()
	if err != nil {
		return err
	}
	client, err := o.Client()
	if err != nil {
		return err
	}
	if answer {
		return node.Answer(ctx, client, o.Pods(), service, port)
	}
	return node.Silence(ctx, client, o.Pods(), service, port)
}

// runStack is the process of the node, the controller and the edge; up starts it.
func runStack() *cli.Command {
	return &cli.Command{
		Name:   cluster.StackCommand,
		Hidden: true,
		Flags:  []cli.Flag{dirFlag()},
		Action: func(c *cli.Context) error {
			if err := process.Gate(os.Stdin); err != nil {
				return err
			}
			sandbox, err := at(c)
			if err != nil {
				return err
			}
			o, err := sandbox.Stack()
			if err != nil {
				return err
			}
			o.Log = slog.New(slog.NewTextHandler(c.App.ErrWriter, nil))
			return stack.Run(c.Context, o, process.Ready)
		},
	}
}
