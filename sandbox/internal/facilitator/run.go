package facilitator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/obolctl/obolctl/sandbox/internal/chain"
)

// Options say how [Run] runs a facilitator with its chain.
type Options struct {
	Dir     string // of the chain
	RPCPort int    // of the chain's JSON-RPC on 127.0.0.1
	Port    int    // of the facilitator on 127.0.0.1
	Instant bool   // without a chain: see [New]
}

// Run serves a chain and a facilitator until ctx is done. It calls ready once,
// when both answer.
func Run(ctx context.Context, o Options, ready func() error) (err error) {
	var c *chain.Chain
	if !o.Instant {
		if c, err = chain.Start(chain.Options{Dir: o.Dir, Port: o.RPCPort}); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", o.Port))
	if err != nil {
		return fmt.Errorf("cannot start the facilitator: %w", err)
	}
	server := &http.Server{
		Handler:           New(c),
		ReadHeaderTimeout: 10 * time.Second,
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer server.Close()
	if err := ready(); err != nil {
		return err
	}
	select {
	case err := <-served:
		return fmt.Errorf("the facilitator failed: %w", err)
	case <-ctx.Done():
		return nil
	}
}
