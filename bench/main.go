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
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var c config
	flag.StringVar(&c.kubectl, "kubectl", ".cache/tools/kubectl", "the kubectl to compare with")
	flag.IntVar(&c.offers, "offers", 1000, "offers without a gateway")
	flag.IntVar(&c.gateways, "gateways", 200, "offers with a gateway")
	flag.IntVar(&c.requests, "requests", 2000, "paid requests of each run")
	flag.IntVar(&c.streams, "streams", 5000, "idle streams")
	flag.IntVar(&c.runs, "runs", 5, "runs of each measurement, of which the median counts")
	flag.StringVar(&c.only, "only", "", "measure one part: cluster, or paid, which needs no sandbox")
	upstream := flag.String("proxy", "", "be a plain reverse proxy of this URL, to be measured, until stdin ends")
	facilitator := flag.String("facilitator", "", "as such a proxy, have this one settle each payment first")
	flag.Parse()
	var err error
	if *upstream != "" {
		err = proxy(*upstream, *facilitator, os.Stdin, os.Stdout)
	} else {
		err = run(ctx, c)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

type config struct {
	kubectl           string
	offers, gateways  int
	requests, streams int
	runs              int
	only              string
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
	cluster := []func(context.Context) error{b.start, b.firstApply, b.nothingToDo, b.gatewaysIdle, b.gatewayStart, b.untilSold}
	paid := []func(context.Context) error{b.paid}
	measures, known := map[string][]func(context.Context) error{
		"": slices.Concat(cluster, paid), "cluster": cluster, "paid": paid,
	}[c.only]
	if !known {
		return fmt.Errorf("there is no part %q", c.only)
	}
	for _, measure := range measures {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return b.print(os.Stdout)
}
