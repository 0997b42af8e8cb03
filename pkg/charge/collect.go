package charge

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/obolctl/obolctl/pkg/ledger"
	"github.com/obolctl/obolctl/pkg/x402"
)

// maxHeld is how much of an answer is held back until it is settled, in bytes.
const maxHeld = 1 << 20

// Collect takes the money for the answer of an upstream, of which nothing has
// gone to the buyer yet. It is the ModifyResponse of an offer's reverse proxy;
// its error is to go to [Refused]. Answers of what is free pass through it too.
func Collect(res *http.Response) error {
	strip(res.Header)
	strip(res.Trailer)
	switch {
	case res.StatusCode != http.StatusSwitchingProtocols:
		res.Body = &stripped{res.Body, res}
	case !isWebSocket(res.Header):
		return errors.New("the upstream turns to a protocol that it was not asked for")
	}
	if s := saleOf(res.Request); s != nil {
		return s.collect(res)
	}
	return nil
}

func (s *sale) collect(res *http.Response) error {
	switch {
	case res.StatusCode == http.StatusPaymentRequired:
		s.why = "the upstream asks to be paid itself"
		return &refusal{http.StatusBadGateway, "upstream_unpaid", s.why}
	case res.StatusCode >= http.StatusBadRequest:
		s.why = fmt.Sprintf("the upstream answered %d", res.StatusCode)
		s.till.metrics.upstream.WithLabelValues(s.way.labels...).Inc()
		s.end(res.Request.Context())
		return nil
	}
	forOne(res.Header)
	switch mode := s.route.seat.Settle; {
	case mode == after && IsStream(res):
		return s.lend(res)
	case mode != before && !IsStream(res) && res.StatusCode != http.StatusSwitchingProtocols:
		if err := hold(res); err != nil {
			return err
		}
	}
	receipt, err := s.settle(res.Request.Context())
	if err != nil {
		return err
	}
	setReceipt(res.Header, receipt)
	s.passed = true
	s.request = x402.Request{} // a stream may last for hours
	return nil
}

// IsStream tells whether an answer is a stream of server-sent events.
func IsStream(res *http.Response) bool {
	kind, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	return err == nil && kind == "text/event-stream" && res.StatusCode != http.StatusSwitchingProtocols
}

// hold reads the answer, as far as it is held back, so that a buyer does not
// pay for one that breaks off.
func hold(res *http.Response) error {
	var held bytes.Buffer
	n, err := held.ReadFrom(io.LimitReader(res.Body, maxHeld))
	if err != nil {
		return err
	}
	rest := io.Reader(res.Body)
	if n < maxHeld {
		rest = http.NoBody
	}
	res.Body = &joined{io.MultiReader(&held, rest), res.Body}
	return nil
}

// A joined body is read in one place and closed in another.
type joined struct {
	io.Reader
	io.Closer
}

// lend lets a stream pass before it is settled: it is a debt, settled when the
// upstream has ended, with the receipt as a trailer.
func (s *sale) lend(res *http.Response) error {
	ctx := res.Request.Context()
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.till.streams.enter(s.auth.Claim) {
		s.why = "too much is owed"
		return errBusy
	}
	if err := s.till.Ledger.Owe(s.auth.Claim, s.lender(), s.request); err != nil {
		s.till.streams.leaveNothing(s.auth.Claim)
		s.till.Log.ErrorContext(ctx, "cannot write down a debt", "error", err.Error())
		return errLedger
	}
	s.finish(ctx, nil)
	s.passed = true
	res.ContentLength = -1
	res.Header.Del("Content-Length")
	if res.Trailer == nil {
		res.Trailer = http.Header{}
	}
	res.Trailer[x402.ReceiptHeader], res.Trailer[x402.ReceiptHeaderV1] = nil, nil
	res.Body = &lent{ReadCloser: res.Body, sale: s, res: res}
	return nil
}

// lender is the facilitator that a debt is settled by.
func (s *sale) lender() string {
	if s.verified != nil {
		return s.verified.url
	}
	return s.way.Facilitators[0]
}

// A lent body is a stream that is settled at its end.
type lent struct {
	io.ReadCloser
	sale *sale
	res  *http.Response
	over bool // settled, or given up
}

func (l *lent) Read(p []byte) (int, error) {
	n, err := l.ReadCloser.Read(p)
	switch {
	case err == nil || l.over:
	case errors.Is(err, io.EOF):
		if failed := l.settle(); failed != nil {
			return 0, failed // what came last is not for those who did not pay
		}
	case l.res.Request.Context().Err() != nil:
		l.giveUp("it was cut off on the buyer's side: they left, or the gateway had to stop")
	default:
		l.giveUp("the upstream broke off")
	}
	return n, err
}

// settle takes the money for a stream that has ended. Where nobody can be asked
// now, it stays a debt.
func (l *lent) settle() error {
	s, ctx := l.sale, l.res.Request.Context()
	if ctx.Err() != nil {
		l.giveUp("the buyer left before it was settled")
		return ctx.Err()
	}
	l.over = true
	owes := true // also after a panic
	defer func() {
		s.till.streams.leave(s.auth.Claim) // before CollectDebts is told: it leaves alone what a stream is for
		if owes {
			s.till.owe()
		}
	}()
	receipt, err := s.till.collectDebt(context.WithoutCancel(ctx), ledger.Debt{Entry: s.entry(time.Time{}), Facilitator: s.lender(), Request: s.request})
	owes = err != nil
	switch {
	case owes:
	case !receipt.Success:
		return &declined{receipt}
	default:
		setReceipt(l.res.Trailer, receipt)
	}
	return nil
}

func (l *lent) giveUp(why string) {
	l.over = true
	l.sale.finish(l.res.Request.Context(), l.sale.till.Ledger.Fail(l.sale.auth.Claim, why))
	l.sale.till.streams.leaveNothing(l.sale.auth.Claim)
}

// Close ends a stream. One that is closed before its end was not waited for.
func (l *lent) Close() error {
	if !l.over {
		l.giveUp("the buyer left before it was settled")
	}
	return l.ReadCloser.Close()
}

// A stripped body takes our headers out of an upstream's trailers, which come
// at its end.
type stripped struct {
	io.ReadCloser
	res *http.Response
}

func (s *stripped) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if err != nil {
		strip(s.res.Trailer)
	}
	return n, err
}
