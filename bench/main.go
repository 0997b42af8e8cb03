// Command bench measures the figures that the README promises, side by side
// with the alternatives, in one run on one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.StringVar(&c.kubectl, "kubectl", ".cache/tools/kubectl", "the kubectl to compare with")
	flag.IntVar(&c.offers, "offers", 1000, "offers without a gateway")
	flag.IntVar(&c.gateways, "gateways", 200, "offers with a gateway")
	flag.IntVar(&c.runs, "runs", 5, "runs of each measurement, of which the median counts")
	flag.Parse()
	if err := run(ctx, c); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type config struct {
	kubectl          string
	offers, gateways int
	runs             int
}

// run measures everything, and prints one table at the end. A figure that
// misses its target is printed as such and is no error.
func run(ctx context.Context, c config) (err error) {
	bin, err := filepath.Abs("bin")
	if err != nil {
		return err
	}
	if c.kubectl, err = filepath.Abs(c.kubectl); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "obolctl-bench-")
	if err != nil {
		return err
	}
	b := newBench(c, bin, dir)
	defer func() {
		err = errors.Join(err, b.clearAway(context.WithoutCancel(ctx)), os.RemoveAll(dir))
	}()
	for _, measure := range []func(context.Context) error{
		b.start, b.firstApply, b.nothingToDo, b.gatewaysIdle, b.gatewayStart,
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return b.print(os.Stdout)
}
