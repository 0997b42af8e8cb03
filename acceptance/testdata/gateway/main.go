// Command gateway is "obolctl gateway serve" without the rest of obolctl. What
// is attacked with one check taken out is built of it, since it links in a tenth
// of the time.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/obolctl/obolctl/pkg/gateway"
)

func main() {
	set := flag.NewFlagSet("gateway serve", flag.ExitOnError)
	config := set.String("config", "", "the configuration")
	ready := set.Int("ready-fd", -1, "descriptor that is told when the gateway answers")
	if len(os.Args) < 3 || set.Parse(os.Args[3:]) != nil {
		os.Exit(64)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := gateway.Serve(ctx, gateway.Options{Config: *config, Version: "weakened", Log: os.Stderr, Ready: func() {
		pipe := os.NewFile(uintptr(*ready), "ready")
		fmt.Fprintln(pipe, "READY")
		pipe.Close()
	}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
