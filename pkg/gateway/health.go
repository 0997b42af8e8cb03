package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// How the upstream is asked.
const (
	healthEvery = 5 * time.Second
	healthLimit = 2 * time.Second
)

// A health knows whether the upstream answered lately: it is unhealthy after
// two failures in a row and healthy after one success.
type health struct {
	ask  func(context.Context) error // nil: the upstream answered below 500
	log  *slog.Logger
	from string             // what is asked, and with what: equal texts mean equal answers
	stop context.CancelFunc // set by watch

	mu       sync.Mutex
	healthy  bool
	failures int
	why      string    // when not healthy, without anything that a buyer must not see
	since    time.Time // when healthy became what it is; zero: not asked yet
}

func newHealth(p *plane, log *slog.Logger) *health {
	target := *p.upstream
	target.Path = strings.TrimRight(target.Path, "/") + p.cfg.HealthPath
	target.RawPath = ""
	from := target.String()
	for _, name := range slices.Sorted(maps.Keys(p.headers)) {
		from += "\n" + name + ": " + p.headers.Get(name)
	}
	client := &http.Client{
		Transport:     p.transport,
		Timeout:       healthLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	ask := func(ctx context.Context) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
		if err != nil {
			return err
		}
		r.Header.Set("User-Agent", "obolctl-gateway")
		p.setHeaders(r)
		answer, err := client.Do(r)
		if err != nil {
			return err
		}
		defer func() { _ = answer.Body.Close() }()                    // read only: nothing can be lost
		_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, 4096)) // so that the connection can be used again
		if answer.StatusCode >= http.StatusInternalServerError {
			return statusError(answer.StatusCode)
		}
		return nil
	}
	return &health{ask: ask, log: log, from: from, why: "the upstream was not asked yet"}
}

type statusError int

func (e statusError) Error() string { return fmt.Sprintf("the upstream answered %d", int(e)) }

// inherit gives old itself when h would ask the same, and else h with what old
// found, until h finds otherwise.
func (h *health) inherit(old *health) *health {
	if h.from == old.from {
		return old
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	h.healthy, h.failures, h.why, h.since = old.healthy, old.failures, old.why, old.since
	return h
}

// run asks at once and then every five seconds, until ctx is done.
func (h *health) run(ctx context.Context) {
	tick := time.NewTicker(healthEvery)
	defer tick.Stop()
	for {
		h.probe(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (h *health) probe(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, healthLimit)
	defer cancel()
	err := h.ask(limited)
	if ctx.Err() != nil {
		return // we were told to stop, which says nothing of the upstream
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	was := h.healthy
	if err == nil {
		h.healthy, h.failures, h.why = true, 0, ""
		if !was {
			h.since = time.Now().UTC()
			h.log.InfoContext(ctx, "upstream is healthy")
		}
		return
	}
	h.failures++
	if h.failures == 1 && was {
		return
	}
	h.healthy, h.why = false, publicReason(err)
	if was || h.since.IsZero() {
		h.since = time.Now().UTC()
	}
	if was || h.failures == 1 {
		h.log.WarnContext(ctx, "upstream is not healthy", "error", err.Error())
	}
}

// publicReason says what buyers may know of a failure.
func publicReason(err error) string {
	var status statusError
	switch {
	case errors.As(err, &status):
		return status.Error()
	case isTimeout(err):
		return "the upstream did not answer within " + healthLimit.String()
	}
	return "the upstream cannot be reached"
}

// now tells whether the upstream is healthy, and why not.
func (h *health) now() (ok bool, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.healthy, h.why
}

// turned tells when the answer of now became what it is; zero before the
// upstream was asked.
func (h *health) turned() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.since
}
