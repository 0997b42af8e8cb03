// Command obol-sandbox runs a throwaway cluster that looks like the Obol Stack
// to obolctl: a real kube-apiserver and etcd on this machine, without a
// container engine, a chain with a facilitator to pay on, and the stack that
// makes offers of it and sells them.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"

	"github.com/urfave/cli/v2"

	"github.com/obolctl/obolctl/sandbox/internal/cluster"
	"github.com/obolctl/obolctl/sandbox/internal/process"
	"github.com/obolctl/obolctl/sandbox/internal/server"
)

const (
	exitFailure = 1
	exitUsage   = 64
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == cluster.APIServerCommand {
		// kube-apiserver reads its own flags and listens to signals itself.
		os.Exit(runAPIServer(os.Args[2:], os.Stderr))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args, os.Stdout, os.Stderr))
}

func runAPIServer(args []string, stderr io.Writer) int {
	if err := process.Gate(os.Stdin); err != nil {
		fmt.Fprintln(stderr, "error:", err)
		return exitFailure
	}
	code, err := server.APIServer(args)
	if err != nil {
		fmt.Fprintln(stderr, "error:", err)
	}
	return code
}

// usageError is a command line that cannot be carried out.
type usageError struct{ error }

// run is main without the process: its whole world is in its arguments.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	err := app(stdout, stderr).RunContext(ctx, argumentLast(args))
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "error:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintf(stderr, "see %q\n", "obol-sandbox help")
		return exitUsage
	}
	return exitFailure
}

func app(stdout, stderr io.Writer) *cli.App {
	a := &cli.App{
		Name:           "obol-sandbox",
		Usage:          "a throwaway cluster that looks like the Obol Stack",
		HideVersion:    true,
		Writer:         stdout,
		ErrWriter:      stderr,
		ExitErrHandler: func(*cli.Context, error) {}, // run alone decides how to exit
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usageError{fmt.Errorf("there is no command %q", c.Args().First())}
			}
			return usageError{errors.New("a command is needed: up, down, wipe, upstream, chain, buy or version")}
		},
		DisableSliceFlagSeparator: true, // a header may have a comma
		Commands:                  []*cli.Command{up(), down(), wipe(), upstream(), chainAlone(), buy(), version(), runChain(), runEtcd(), runStack()},
	}
	refuse := func(_ *cli.Context, err error, _ bool) error { return usageError{err} }
	a.OnUsageError = refuse
	cli.FlagStringer = flagLine
	for _, c := range a.Commands {
		c.OnUsageError = refuse
		c.HideHelpCommand = true
	}
	return a
}

func dirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", Usage: "keep the sandbox in folder `DIR`"}
}

// at gives the sandbox that the command line names.
func at(c *cli.Context) (*cluster.Cluster, error) {
	if c.Args().Present() {
		return nil, usageError{fmt.Errorf("%q is one argument too many", c.Args().First())}
	}
	return in(c)
}

// in gives the sandbox that --dir names.
func in(c *cli.Context) (*cluster.Cluster, error) {
	if c.String("dir") == "" {
		return nil, usageError{fmt.Errorf("%s needs --dir, the folder of the sandbox", c.Command.Name)}
	}
	return cluster.In(c.String("dir"))
}

func up() *cli.Command {
	return &cli.Command{
		Name:  "up",
		Usage: "start the sandbox; on a folder that had one, it is a reboot of the cluster",
		Flags: append([]cli.Flag{
			dirFlag(),
			&cli.BoolFlag{Name: "detach", DisableDefaultText: true,
				Usage: "return when everything answers, and leave it running"},
			&cli.IntFlag{Name: "port", DefaultText: "a free one",
				Usage: "listen for Kubernetes clients at `PORT`"},
			&cli.IntFlag{Name: "etcd-port", DefaultText: "a free one",
				Usage: "let etcd listen at `PORT`"},
		}, slices.Concat(chainPorts(), kindFlags())...),
		Action: func(c *cli.Context) error {
			sandbox, err := at(c)
			if err != nil {
				return err
			}
			kind, err := kindOf(c)
			if err != nil {
				return err
			}
			ports := cluster.Ports{
				APIServer: c.Int("port"), Etcd: c.Int("etcd-port"),
				Facilitator: c.Int("facilitator-port"), RPC: c.Int("rpc-port"), Edge: c.Int("edge-port"),
			}
			if err := ports.Check(); err != nil {
				return usageError{err}
			}
			started, err := sandbox.Up(c.Context, kind, ports)
			if err != nil {
				return err
			}
			if !started {
				fmt.Fprintf(c.App.Writer, "the sandbox runs already; KUBECONFIG=%s\n", sandbox.Kubeconfig())
				return nil
			}
			fmt.Fprintf(c.App.Writer, "the sandbox is up; KUBECONFIG=%s\n", sandbox.Kubeconfig())
			if c.Bool("detach") {
				return nil
			}
			return stay(c, sandbox)
		},
	}
}

// stay keeps the sandbox in the foreground until a signal, then stops it.
func stay(c *cli.Context, sandbox *cluster.Cluster) error {
	watched := sandbox.Watch(c.Context)
	if watched == nil && c.Context.Err() == nil {
		fmt.Fprintln(c.App.Writer, "another command took over the sandbox")
		return nil
	}
	stopped, err := sandbox.Down(context.WithoutCancel(c.Context))
	if stopped {
		fmt.Fprintln(c.App.Writer, "the sandbox is down")
	}
	return errors.Join(watched, err)
}

func down() *cli.Command {
	return &cli.Command{
		Name:  "down",
		Usage: "stop the sandbox and keep its objects",
		Flags: []cli.Flag{dirFlag()},
		Action: func(c *cli.Context) error {
			sandbox, err := at(c)
			if err != nil {
				return err
			}
			stopped, err := sandbox.Down(c.Context)
			if err != nil {
				return err
			}
			if stopped {
				fmt.Fprintln(c.App.Writer, "the sandbox is down")
			} else {
				fmt.Fprintln(c.App.Writer, "the sandbox was not running")
			}
			return nil
		},
	}
}

func wipe() *cli.Command {
	return &cli.Command{
		Name:  "wipe",
		Usage: "rebuild the cluster from nothing, with the same kubeconfig, and leave it running",
		Flags: []cli.Flag{dirFlag()},
		Action: func(c *cli.Context) error {
			sandbox, err := at(c)
			if err != nil {
				return err
			}
			if err := sandbox.Wipe(c.Context); err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "the sandbox is new; KUBECONFIG=%s\n", sandbox.Kubeconfig())
			return nil
		},
	}
}

func version() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "say what the sandbox runs",
		Action: func(c *cli.Context) error {
			kubernetes, err := server.KubernetesVersion()
			if err != nil {
				return err
			}
			etcd, err := server.EtcdVersion()
			if err != nil {
				return err
			}
			fmt.Fprintf(c.App.Writer, "obol-sandbox, kube-apiserver %s, etcd %s\n", kubernetes, etcd)
			return nil
		},
	}
}

// runEtcd is the process of etcd; the commands above start it.
func runEtcd() *cli.Command {
	return &cli.Command{
		Name:   cluster.EtcdCommand,
		Hidden: true,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "data", Required: true},
			&cli.IntFlag{Name: "port", Required: true},
		},
		Action: func(c *cli.Context) error {
			if err := process.Gate(os.Stdin); err != nil {
				return err
			}
			return server.Etcd(c.Context, c.String("data"), c.Int("port"), process.Ready)
		},
	}
}
