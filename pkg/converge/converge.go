// Package converge is the loop: wait, look, plan, apply, wait; once, or until
// told to stop.
package converge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// ErrNoAPI means that the API server did not answer for as long as it was
// waited for.
var ErrNoAPI = errors.New("the API server did not answer")

// Pauses between the rounds of one run.
const (
	firstPause = 250 * time.Millisecond
	longPause  = 2 * time.Second
)

// A Site is what the loop needs of one. Its methods return soon after their
// context is done. Only WaitAPI is called while another method runs.
type Site interface {
	// StartGateways starts the accepted gateways that do not run, without
	// asking the API server for anything. One that fails holds back none, and
	// is tried again by the next round.
	StartGateways(ctx context.Context) (Result, error)

	// WaitAPI returns nil once the API server answers, or at once when nothing
	// needs a cluster. Its error says what was tried, and for how long.
	WaitAPI(ctx context.Context) error

	// Round looks, plans for nobody being there, and applies. With ids it does
	// so for these gateways alone, and asks the API server for nothing. It may
	// be called while no API server answers: what is unknown blocks. The error
	// is nil when every step of the plan was come to.
	Round(ctx context.Context, ids []resource.ID) (Result, error)
}

// A Result is what one round came to.
type Result struct {
	Plan     plan.Plan
	Outcomes []plan.Outcome // in the order of the plan

	// Again says that another round may do more soon, with nobody's help:
	// something moved, or what comes by itself is still missing.
	Again bool

	// Unsold are the addresses of what was restored, and did not sell when that
	// was last waited for.
	Unsold []string

	// Partial says that it looked at some gateways alone.
	Partial bool
}

// Once converges one time. The gateways are started at once, and the cluster's
// part follows when its API server answers. When that never happens the error
// wraps [ErrNoAPI], and the result is what starting the gateways came to.
//
// A round that asks for another one gets it, until patience is over, counted
// from the end of the first. The result is the last one's.
func Once(ctx context.Context, s Site, patience time.Duration) (Result, error) {
	api := make(chan error, 1)
	go func() { api <- s.WaitAPI(ctx) }()
	early, earlyErr := s.StartGateways(ctx)
	apiErr := <-api
	if err := ctx.Err(); err != nil {
		return early, fmt.Errorf("stopped before the first look: %w", err)
	}
	if apiErr != nil {
		return early, errors.Join(fmt.Errorf("%w: %w", ErrNoAPI, apiErr), earlyErr)
	}
	res, err := s.Round(ctx, nil)
	limited, stop := context.WithTimeout(ctx, patience)
	defer stop()
	for pause := firstPause; err == nil && res.Again && rest(limited, pause); pause = min(pause*5/4, longPause) {
		res, err = s.Round(ctx, nil)
	}
	if err == nil && res.Again && ctx.Err() != nil {
		err = fmt.Errorf("stopped before all was back: %w", ctx.Err())
	}
	return res, err
}

// rest reports whether ctx was not done meanwhile.
func rest(ctx context.Context, pause time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(pause):
		return true
	}
}
