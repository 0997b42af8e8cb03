package gateway

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/obolctl/obolctl/pkg/charge"
	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/resource"
)

// newTable makes the table of a standalone offer: it has all hosts and paths.
func (s *server) newTable(p *plane) (*charge.Table, error) {
	c := p.cfg
	return charge.NewTable([]charge.Offer{{
		Key: c.Offer, Address: c.Address, URL: c.PublicURL, Model: c.Model,
		Payments: c.Payments, Routes: c.Routes, Settle: c.Settle, Registration: c.Registration,
		Upstream: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.pass(p, w, r) }),
		Admit:    func(w http.ResponseWriter, r *http.Request) (charge.Place, bool) { return s.takePlace(p, w, r) },
	}})
}

// openLedger opens the ledger of a standalone offer, once: payments outlive
// configurations. One that takes nothing is said in the log. The caller holds mu.
func (s *server) openLedger(ctx context.Context, c resource.Gateway) error {
	if !c.Standalone || s.ledger != nil {
		return nil
	}
	l, err := ledger.Open(filepath.Join(s.path, resource.SalesFolder, c.Offer.Namespace+"."+c.Offer.Name), time.Now())
	if err != nil {
		return err
	}
	if err := l.Mend(); err != nil {
		s.log.ErrorContext(ctx, "payments are refused until there is room to write them down", "error", err.Error())
	}
	s.ledger = l
	s.till = charge.NewTill(charge.Options{Ledger: l, Log: s.log, Metrics: s.metrics})
	return nil
}

// collectDebts settles what an earlier process left to be settled, and what
// this one will.
func (s *server) collectDebts(ctx context.Context) {
	if s.till != nil {
		s.debts.Go(func() { s.till.CollectDebts(ctx) })
	}
}

// closeLedger is for when no request is left.
func (s *server) closeLedger() error {
	s.debts.Wait()
	if s.ledger == nil {
		return nil
	}
	if err := s.ledger.Close(); err != nil {
		return fmt.Errorf("cannot close the ledger: %v", err)
	}
	return nil
}
