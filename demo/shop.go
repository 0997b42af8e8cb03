package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
)

// findFacilitator tells the offers file who settles payments on the simulated
// chain, and a port that is free for the gateway that charges.
func findFacilitator(ctx context.Context, s *stage) error {
	text, err := os.ReadFile(s.path("cluster/sandbox.json"))
	if err != nil {
		return err
	}
	var sandbox struct{ Facilitator, Edge string }
	if err := json.Unmarshal(text, &sandbox); err != nil {
		return err
	}
	s.edge = sandbox.Edge
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

// listed fails unless the public catalog lists these offers, and no others: the
// controller sees some changes only a moment later.
func listed(names ...string) act {
	return func(ctx context.Context, s *stage) error {
		url := s.edge + "/api/services.json"
		s.prompt("curl -s " + url + " | jq -c '[.services[].name]'")
		want := slices.Sorted(slices.Values(names))
		return s.until(ctx, fmt.Sprintf("the catalog lists %d", len(want)), func() error {
			got, err := catalog(ctx, url)
			if err == nil && !slices.Equal(got, want) {
				err = fmt.Errorf("it lists %q", got)
			}
			if err != nil {
				return err
			}
			line, err := json.Marshal(got)
			fmt.Fprintf(s.out, "%s\n", line)
			return err
		})
	}
}

// storefront fails unless the page that people see shows these offers.
func storefront(names ...string) act {
	return func(ctx context.Context, s *stage) error {
		page, err := fetch(ctx, s.edge+"/")
		if err != nil {
			return err
		}
		for _, name := range names {
			if !strings.Contains(string(page), name) {
				return fmt.Errorf("the storefront does not show %s", name)
			}
		}
		s.held("the storefront shows them to people")
		return nil
	}
}

// fetch gives what a URL answers.
func fetch(ctx context.Context, url string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, answer.Status)
	}
	return io.ReadAll(answer.Body)
}

// catalog gives the names in a catalog, sorted.
func catalog(ctx context.Context, url string) ([]string, error) {
	text, err := fetch(ctx, url)
	if err != nil {
		return nil, err
	}
	var doc struct{ Services []struct{ Name string } }
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("cannot read the catalog: %w", err)
	}
	names := []string{}
	for _, one := range doc.Services {
		names = append(names, one.Name)
	}
	slices.Sort(names)
	return names, nil
}

// buy pays for one answer of a standalone offer, on the simulated chain.
func buy(address string) act {
	return func(ctx context.Context, s *stage) error {
		g, err := s.gateway(ctx, address)
		if err != nil {
			return err
		}
		return s.pay(ctx, "http://"+g.Listen[0]+"/v1/chat/completions")
	}
}

// buyAtEdge pays for one answer of an offer that the cluster charges for.
func buyAtEdge(name string) act {
	return func(ctx context.Context, s *stage) error {
		return s.pay(ctx, s.edge+"/services/"+name+"/v1/chat/completions")
	}
}

func (s *stage) pay(ctx context.Context, url string) error {
	const question = `{"model":"notes"}`
	line := fmt.Sprintf("obol-sandbox buy --dir cluster -d '%s' \\\n    %s", question, url)
	said, err := s.run(ctx, line, 0, "obol-sandbox", "buy", "--dir", "cluster", "-d", question, url)
	if err == nil && !strings.Contains(said, "behind the gateway") {
		err = fmt.Errorf("%q paid and got no answer", line)
	}
	if err != nil {
		return err
	}
	s.held("paid, settled and answered")
	return nil
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
