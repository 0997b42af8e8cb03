package ledger

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/x402"
)

// A record is what is known of one payment, or, in a line, what became of it.
type record struct {
	State       State     `json:"state"`
	Payment     payment   `json:"payment"`
	Terms       *terms    `json:"terms,omitempty"` // of open ones
	ValidBefore time.Time `json:"valid_before,omitzero"`
	Facilitator string    `json:"facilitator,omitempty"` // of owed ones
	Request     []byte    `json:"request,omitempty"`     // in base64: word for word, whatever is in it
	Transaction string    `json:"transaction,omitempty"`
	Reason      string    `json:"reason,omitempty"`
	Ended       time.Time `json:"ended_at,omitzero"`
}

// terms are what only open payments need.
type terms struct {
	Claimed  time.Time     `json:"claimed_at"`
	Key      offer.Key     `json:"key"`
	Address  offer.Address `json:"offer"`
	Route    string        `json:"route"`
	Network  string        `json:"network"`
	Symbol   string        `json:"token"`
	Asset    string        `json:"asset"`
	Decimals int           `json:"decimals"`
	Amount   string        `json:"amount"`
	PayTo    string        `json:"pay_to"`
}

func recordOf(e Entry) record {
	return record{State: Claimed, Payment: payment(e.Claim), ValidBefore: plain(e.ValidBefore), Terms: &terms{
		Claimed: plain(e.At), Key: e.Key, Address: e.Address, Route: e.Route, Network: e.Network, Symbol: e.Symbol, Asset: e.Asset,
		Decimals: e.Decimals, Amount: e.Amount, PayTo: e.PayTo,
	}}
}

// entry gives back what recordOf was given. The record is open.
func (r *record) entry() Entry {
	t := r.Terms
	return Entry{
		Claim: x402.Claim(r.Payment), At: t.Claimed, ValidBefore: r.ValidBefore, Key: t.Key, Address: t.Address, Route: t.Route,
		Network: t.Network, Symbol: t.Symbol, Asset: t.Asset, Decimals: t.Decimals, Amount: t.Amount, PayTo: t.PayTo,
	}
}

// plain is a moment as it comes back from the disk.
func plain(t time.Time) time.Time { return t.Round(0).UTC() }

// after is what is known of a payment once a change has come over it. What only
// open ones need goes with their end.
func (r *record) after(change record) *record {
	now := *r
	now.State, now.Ended = change.State, change.Ended
	if change.State == Owed {
		now.Facilitator, now.Request = change.Facilitator, change.Request
		return &now
	}
	if change.Transaction != "" {
		now.Transaction = change.Transaction
	}
	now.Reason = change.Reason
	now.Terms, now.Facilitator, now.Request = nil, "", nil
	return &now
}

// A payment is a claim as one word: chain/contract/payer/nonce.
type payment x402.Claim

func (p payment) String() string {
	text, _ := p.AppendText(nil) // which does not fail
	return string(text)
}

// AppendText gives the word.
func (p payment) AppendText(b []byte) ([]byte, error) {
	b = strconv.AppendUint(b, p.Chain, 10)
	for _, part := range [][]byte{p.Contract[:], p.Payer[:], p.Nonce[:]} {
		b = hex.AppendEncode(append(b, "/0x"...), part)
	}
	return b, nil
}

// MarshalText gives the word.
func (p payment) MarshalText() ([]byte, error) { return p.AppendText(make([]byte, 0, 192)) }

// UnmarshalText reads the word.
func (p *payment) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), "/")
	if len(parts) != 4 {
		return errors.New("a payment is chain/contract/payer/nonce")
	}
	chain, err := strconv.ParseUint(parts[0], 10, 64)
	if err != nil {
		return errors.New("the chain of a payment is a number")
	}
	p.Chain = chain
	for i, into := range [][]byte{p.Contract[:], p.Payer[:], p.Nonce[:]} {
		digits, ok := strings.CutPrefix(parts[i+1], "0x")
		if !ok || len(digits) != hex.EncodedLen(len(into)) {
			return fmt.Errorf("%q has not the length it should have", parts[i+1])
		}
		if _, err := hex.Decode(into, []byte(digits)); err != nil {
			return fmt.Errorf("%q is not hexadecimal", parts[i+1])
		}
	}
	return nil
}

// compare orders payments where nothing else does.
func (p payment) compare(q payment) int {
	return cmp.Or(cmp.Compare(p.Chain, q.Chain), bytes.Compare(p.Contract[:], q.Contract[:]),
		bytes.Compare(p.Payer[:], q.Payer[:]), bytes.Compare(p.Nonce[:], q.Nonce[:]))
}

// A header is the first line of a segment.
type header struct {
	Schema  int       `json:"ledger"`
	Begun   time.Time `json:"begun"`           // not before any claim of the segments before it
	Forgot  time.Time `json:"forgot,omitzero"` // the latest ValidBefore of all that was forgotten before this segment
	Carried int       `json:"carried"`         // how many of the lines that follow say what was live then
}

// A group is every other line: what was written and synced together.
type group struct {
	Records []record `json:"records"`
}

const groupStart = `{"records":[`

// The end of a line, with the checksum of what is before it: CRC-32C, in hex.
const (
	sumStart = `,"crc":"`
	sumEnd   = "\"}\n"
	sumSize  = len(sumStart) + 8 + len(sumEnd)
)

// endOf gives the end of a line that begins so.
func endOf(begin []byte) []byte {
	sum := crc32.Checksum(begin, crc32.MakeTable(crc32.Castagnoli))
	end := hex.AppendEncode([]byte(sumStart), binary.BigEndian.AppendUint32(nil, sum))
	return append(end, sumEnd...)
}

// seal makes a line of a JSON object.
func seal(object []byte) []byte {
	begin := bytes.TrimSuffix(object, []byte("}"))
	return append(begin, endOf(begin)...)
}

// sealed reports whether a line is as seal made it.
func sealed(line []byte) bool {
	cut := len(line) - sumSize
	return cut > 0 && bytes.Equal(line[cut:], endOf(line[:cut]))
}

// endGroup ends the line of a group that begins at from.
func endGroup(text []byte, from int) []byte {
	text = append(text, ']')
	return append(text, endOf(text[from:])...)
}
