package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// clients is how many ask at a time.
const clients = 16

// slow is what each answer of a facilitator takes where that is to be seen.
const slow = 50 * time.Millisecond

// paid measures the gateway that charges, beside those who could stand in its
// place: the same upstream and the same facilitator, all of them warm.
func (b *bench) paid(ctx context.Context) (err error) {
	m := b.openMarket()
	defer func() { err = errors.Join(err, m.close()) }()
	if m.plain, err = m.startPlain(ctx, ""); err != nil {
		return err
	}
	if m.before, err = m.startGateway(ctx, "before", "before"); err != nil {
		return err
	}
	if m.calling, err = m.startPlain(ctx, m.calls.URL); err != nil {
		return err
	}
	m.calling.terms = m.before.url
	if m.after, err = m.startGateway(ctx, "after", "after"); err != nil {
		return err
	}
	if m.express, err = m.startExpress(ctx); err != nil {
		return err
	}
	for _, measure := range []func(context.Context, *market) error{b.paces, b.firstBytes, b.largeAnswer, b.idleStreams} {
		if err := measure(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// A pace is what one request costs where many are under way.
type pace struct {
	wall  time.Duration // of all clients together
	cpu   time.Duration // of the seller's process
	calls int           // to the facilitator, of a round
}

// A race is one of those that are run in turns.
type race struct {
	name   string
	seller *seller
	status int // that each request has to get; a 200 of one who charges is paid for
	paid   bool
	n      int // requests of a round
}

// paces compares how many requests each serves, and at what cost.
func (b *bench) paces(ctx context.Context, m *market) error {
	b.progress("paid and unpaid requests, %d at a time ...", clients)
	n := b.requests
	races := []race{
		{"plain", m.plain, http.StatusOK, false, 8 * n},
		{"calling", m.calling, http.StatusOK, true, n},
		{"unpaid", m.before, http.StatusPaymentRequired, false, 8 * n},
		{"before", m.before, http.StatusOK, true, n},
		{"after", m.after, http.StatusOK, true, n},
		{"express", m.express, http.StatusOK, true, n / 2},
	}
	took := map[string][]pace{}
	for round := range b.runs + 1 {
		for _, r := range races {
			p, err := m.run(ctx, r)
			if err != nil {
				return fmt.Errorf("%s: %w", r.name, err)
			}
			if round > 0 { // the first one warms up
				took[r.name] = append(took[r.name], p)
			}
		}
	}
	p := map[string]pace{}
	for name, all := range took {
		p[name] = medianPace(all)
	}
	b.addPaces(p)
	return nil
}

// medianPace gives the medians; of the calls the most, since not one may be too
// many.
func medianPace(all []pace) pace {
	var walls, cpus []time.Duration
	var calls []int
	for _, p := range all {
		walls, cpus, calls = append(walls, p.wall), append(cpus, p.cpu), append(calls, p.calls)
	}
	return pace{median(walls), median(cpus), slices.Max(calls)}
}

// run runs one round.
func (m *market) run(ctx context.Context, r race) (pace, error) {
	var payments []string
	if r.paid {
		var err error
		if payments, err = r.seller.payments(ctx, "/text", r.n); err != nil {
			return pace{}, err
		}
	}
	runtime.GC() // what was signed is no work of the round
	m.facilitator.Forget()
	before, err := cpu(r.seller.pid)
	if err != nil {
		return pace{}, err
	}
	began := time.Now()
	if err := drive(ctx, r, payments); err != nil {
		return pace{}, err
	}
	wall := time.Since(began)
	after, err := cpu(r.seller.pid)
	n := time.Duration(r.n)
	return pace{wall / n, (after - before) / n, len(m.facilitator.Calls())}, err
}

// drive sends the requests of a round.
func drive(ctx context.Context, r race, payments []string) error {
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range clients {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(r.n); i = next.Add(1) - 1 {
				payment := ""
				if r.paid {
					payment = payments[i]
				}
				body, err := r.seller.ask(ctx, "/text", payment, r.status)
				if err != nil {
					return err
				}
				if err := drain(body); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func drain(body io.ReadCloser) error {
	_, err := io.Copy(io.Discard, body)
	return errors.Join(err, body.Close())
}

func (b *bench) addPaces(p map[string]pace) {
	plain, unpaid, before, express := p["plain"], p["unpaid"], p["before"], p["express"]
	b.add(row{
		what: "unpaid requests, answered with a 402", ours: rate(unpaid.wall), theirs: "plain `httputil.ReverseProxy` " + rate(plain.wall),
		ratio: fmt.Sprintf("%.2f times as many", float64(plain.wall)/float64(unpaid.wall)), target: "≥ 1", ok: unpaid.wall <= plain.wall,
	})
	for _, mode := range []string{"before", "after"} {
		ours := p[mode].wall
		b.add(row{
			what: fmt.Sprintf("paid requests, each claimed on disk, `settle = %q`", mode), ours: rate(ours),
			theirs: "`@x402/express` " + rate(express.wall),
			ratio:  fmt.Sprintf("%.1f times as many", float64(express.wall)/float64(ours)), target: "≥ 3", ok: ours*3 <= express.wall,
		})
	}
	calling := p["calling"].cpu
	over := before.cpu - calling
	b.add(row{
		what: "CPU of a paid request over a plain proxy and its call to the facilitator", ours: millis(over),
		theirs: fmt.Sprintf("in all %s, a plain proxy that calls %s, one that does not %s", millis(before.cpu), millis(calling), millis(plain.cpu)),
		target: "≤ 0.40 ms", ok: over <= 400*time.Microsecond,
	})
	b.add(row{
		what: "CPU of a paid request in all", ours: millis(before.cpu), theirs: "`@x402/express` " + millis(express.cpu), ratio: ratio(before.cpu, express.cpu),
	})
	calls := float64(before.calls) / float64(b.requests)
	b.add(row{
		what: "calls to the facilitator for a paid request, `settle = \"before\"`", ours: fmt.Sprintf("%.2f", calls),
		theirs: fmt.Sprintf("`@x402/express` %.2f", float64(express.calls)/float64(b.requests/2)), target: "1", ok: calls == 1,
	})
}

func rate(each time.Duration) string {
	return fmt.Sprintf("%.0f/s", float64(time.Second)/float64(each))
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
}

// firstBytes compares when a stream begins to arrive, where the facilitator
// takes its time.
func (b *bench) firstBytes(ctx context.Context, m *market) error {
	b.progress("the first byte of a stream ...")
	m.takes.Store(int64(slow))
	defer m.takes.Store(0)
	took := map[string][]time.Duration{}
	for range b.runs {
		for _, s := range []struct {
			name string
			*seller
			paid bool
		}{
			{"upstream", newSeller(m.upstream.URL, 0), false}, {"before", m.before, true}, {"express", m.express, true},
		} {
			payments := []string{""}
			if s.paid {
				var err error
				if payments, err = s.payments(ctx, "/stream", 1); err != nil {
					return err
				}
			}
			m.facilitator.Forget()
			began := time.Now()
			body, err := s.ask(ctx, "/stream", payments[0], http.StatusOK)
			if err != nil {
				return err
			}
			took[s.name] = append(took[s.name], time.Since(began))
			if calls := m.facilitator.Calls(); s.name == "before" && (len(calls) != 1 || calls[0].Path != "/settle") {
				return fmt.Errorf("the facilitator was asked %d times before the first byte", len(calls))
			}
			if err := drain(body); err != nil {
				return err
			}
		}
	}
	ours, upstream, express := median(took["before"]), median(took["upstream"]), median(took["express"])
	least := upstream + slow
	b.add(row{
		what: fmt.Sprintf("first byte of a stream, the facilitator taking %v", slow), ours: span(ours),
		theirs: fmt.Sprintf("the upstream's own and one settlement: %s", span(least)),
		ratio:  fmt.Sprintf("%.1f ms later", float64(ours-least)/float64(time.Millisecond)), target: "≤ 5 ms later", ok: ours-least <= 5*time.Millisecond,
	})
	b.add(row{
		what: fmt.Sprintf("first byte of a stream of %v", firstEvent+events*eventEvery), ours: span(ours), theirs: "`@x402/express` " + span(express),
		ratio: ratio(ours, express),
	})
	return nil
}

// largeAnswer watches the memory of a gateway through which a large answer goes.
func (b *bench) largeAnswer(ctx context.Context, m *market) error {
	b.progress("an answer of 1 GB ...")
	s, err := m.startGateway(ctx, "large", "after")
	if err != nil {
		return err
	}
	payments, err := m.warm(ctx, s, "/large", 1)
	if err != nil {
		return err
	}
	idle, err := memory(s.pid, "RssAnon")
	if err != nil {
		return err
	}
	watch := watchPeak(s.pid)
	body, err := s.ask(ctx, "/large", payments[0], http.StatusOK)
	if err == nil {
		err = drain(body)
	}
	most, failed := watch.end()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	b.add(row{
		what: "anonymous memory that an answer of 1 GB adds to a gateway", ours: mb(most - idle), theirs: "idle " + mb(idle),
		target: "≤ 16 MB", ok: most-idle <= 16e6,
	})
	return nil
}

// warm has a gateway serve some paid requests, and signs payments for more.
func (m *market) warm(ctx context.Context, s *seller, path string, n int) ([]string, error) {
	if _, err := m.run(ctx, race{"warm", s, http.StatusOK, true, 100}); err != nil {
		return nil, err
	}
	return s.payments(ctx, path, n)
}

// idleStreams opens streams that were paid for and on which nothing happens, and
// as many that a plain proxy passes on.
func (b *bench) idleStreams(ctx context.Context, m *market) error {
	b.progress("%d idle streams ...", b.streams)
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return err
	}
	if need := uint64(2*b.streams + 1000); files.Cur < need { // here and in the sellers, two for each stream
		return fmt.Errorf("%d streams need %d open files, and %d are allowed", b.streams, need, files.Cur)
	}
	ours, err := m.startGateway(ctx, "streams", "before")
	if err != nil {
		return err
	}
	payments, err := m.warm(ctx, ours, "/idle", b.streams)
	if err != nil {
		return err
	}
	idle, err := memory(ours.pid, "RssAnon")
	if err != nil {
		return err
	}
	full, err := b.hold(ctx, ours, payments)
	if err != nil {
		return err
	}
	theirs, err := m.startPlain(ctx, "")
	if err != nil {
		return err
	}
	plain, err := b.hold(ctx, theirs, make([]string, b.streams))
	if err != nil {
		return err
	}
	b.add(row{
		what:   fmt.Sprintf("resident memory of a gateway with %d idle streams", b.streams),
		ours:   fmt.Sprintf("%s; %.0f kB for each stream", mb(full.resident), float64(full.anonymous-idle)/float64(b.streams)/1e3),
		theirs: "plain `httputil.ReverseProxy` " + mb(plain.resident), ratio: fmt.Sprintf("%.2f", float64(full.resident)/float64(plain.resident)),
		target: "≤ 300 MB", ok: full.resident <= 300e6,
	})
	return nil
}

// A size is the memory of a process, in bytes.
type size struct{ resident, anonymous int64 }

// hold opens a stream for each payment, or for each that is empty, and gives the
// size of the seller when nothing has happened on them for a while.
func (b *bench) hold(ctx context.Context, s *seller, payments []string) (size, error) {
	streams, cancel := context.WithCancel(ctx)
	defer cancel()
	var group errgroup.Group
	group.SetLimit(clients)
	for _, p := range payments {
		group.Go(func() error {
			_, err := s.ask(streams, "/idle", p, http.StatusOK) // it ends with its context
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return size{}, err
	}
	select {
	case <-time.After(settle):
	case <-ctx.Done():
		return size{}, ctx.Err()
	}
	resident, err := memory(s.pid, "VmRSS")
	if err != nil {
		return size{}, err
	}
	anonymous, err := memory(s.pid, "RssAnon")
	return size{resident, anonymous}, err
}
