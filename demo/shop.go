package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
)

// findFacilitator tells the offers file who settles payments on the simulated
// chain, and a port that is free for the gateway that charges.
func findFacilitator(ctx context.Context, s *stage) error {
	text, err := os.ReadFile(s.path("cluster/sandbox.json"))
	if err != nil {
		return err
	}
	var sandbox struct{ Facilitator string }
	if err := json.Unmarshal(text, &sandbox); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err := errors.Join(err, l.Close()); err != nil {
		return err
	}
	for _, variable := range []string{"OBOLCTL_VAR_FACILITATOR=" + sandbox.Facilitator, "OBOLCTL_VAR_NOTES_PORT=" + port} {
		s.env = append(s.env, variable)
		s.prompt("export " + variable)
	}
	return nil
}

// buy pays for one answer of a standalone offer, on the simulated chain.
func buy(address string) act {
	return func(ctx context.Context, s *stage) error {
		g, err := s.gateway(ctx, address)
		if err != nil {
			return err
		}
		const question = `{"model":"notes"}`
		url := "http://" + g.Listen[0] + "/v1/chat/completions"
		line := fmt.Sprintf("obol-sandbox buy %s --dir cluster -d '%s'", url, question)
		said, err := s.run(ctx, line, 0, "obol-sandbox", "buy", url, "--dir", "cluster", "-d", question)
		if err == nil && !strings.Contains(said, "behind the gateway") {
			err = fmt.Errorf("%q paid and got no answer", line)
		}
		if err != nil {
			return err
		}
		s.held("paid, settled and answered")
		return nil
	}
}

// sold fails unless the books have one sale, of this offer and for this amount
// of the token.
func sold(address, amount string) act {
	return func(ctx context.Context, s *stage) error {
		var books struct {
			Sales []struct{ Address, State, Amount string }
		}
		if err := s.read(ctx, &books, "sales", "--json"); err != nil {
			return err
		}
		if len(books.Sales) != 1 || books.Sales[0].Address != address || books.Sales[0].State != "settled" || books.Sales[0].Amount != amount {
			return fmt.Errorf("the books have %v, not one settled sale of %s for %s", books.Sales, address, amount)
		}
		s.held("the books have it")
		return nil
	}
}
