package ledger

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// appendTo adds the record to a text, as encoding/json writes it: that takes many
// times as long, and every payment is written down more than once. It fails for
// a time that JSON cannot say.
func (r *record) appendTo(text []byte) ([]byte, error) {
	w := writer{text: text}
	w.open()
	w.string("state", string(r.State))
	w.payment("payment", r.Payment)
	if r.Terms != nil {
		w.terms("terms", r.Terms)
	}
	if !r.ValidBefore.IsZero() {
		w.time("valid_before", r.ValidBefore)
	}
	w.filled("facilitator", r.Facilitator)
	w.filled("request", base64.StdEncoding.EncodeToString(r.Request))
	w.filled("transaction", r.Transaction)
	w.filled("reason", r.Reason)
	if !r.Ended.IsZero() {
		w.time("ended_at", r.Ended)
	}
	w.close()
	if w.err != nil {
		return nil, fmt.Errorf("cannot write down the payment: %v", w.err)
	}
	return w.text, nil
}

// A writer adds objects to a text.
type writer struct {
	text []byte
	err  error // of a time that cannot be said
}

func (w *writer) open()  { w.text = append(w.text, '{') }
func (w *writer) close() { w.text = append(w.text, '}') }

// name begins a member.
func (w *writer) name(name string) {
	if w.text[len(w.text)-1] != '{' {
		w.text = append(w.text, ',')
	}
	w.text = append(w.text, '"')
	w.text = append(w.text, name...)
	w.text = append(w.text, `":`...)
}

func (w *writer) string(name, s string) {
	w.name(name)
	if !isPlain(s) {
		text, _ := json.Marshal(s) // which does not fail for any
		w.text = append(w.text, text...)
		return
	}
	w.text = append(w.text, '"')
	w.text = append(w.text, s...)
	w.text = append(w.text, '"')
}

// isPlain tells whether a string is written as it is.
func isPlain(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}

// filled is for a string that is left out where there is none.
func (w *writer) filled(name, s string) {
	if s != "" {
		w.string(name, s)
	}
}

func (w *writer) number(name string, n int) {
	w.name(name)
	w.text = strconv.AppendInt(w.text, int64(n), 10)
}

func (w *writer) time(name string, t time.Time) {
	w.name(name)
	text, err := t.AppendText(append(w.text, '"'))
	if err != nil {
		w.err = err
		return
	}
	w.text = append(text, '"')
}

func (w *writer) payment(name string, p payment) {
	w.name(name)
	w.text, _ = p.AppendText(append(w.text, '"')) // which does not fail
	w.text = append(w.text, '"')
}

func (w *writer) terms(name string, t *terms) {
	w.name(name)
	w.open()
	w.time("claimed_at", t.Claimed)
	w.key("key", t.Key)
	w.string("offer", t.Address.String())
	w.string("route", t.Route)
	w.string("network", t.Network)
	w.string("token", t.Symbol)
	w.string("asset", t.Asset)
	w.number("decimals", t.Decimals)
	w.string("amount", t.Amount)
	w.string("pay_to", t.PayTo)
	w.close()
}

func (w *writer) key(name string, k offer.Key) {
	w.name(name)
	w.open()
	w.string("type", string(k.Type))
	w.string("namespace", k.Namespace)
	w.string("name", k.Name)
	w.close()
}
