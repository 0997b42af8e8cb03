package view_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/obolctl/obolctl/pkg/view"
)

const (
	buyer  = "0x857b06519E91e3A54538791bDbb0E22373e36b66"
	seller = "0x52908400098527886E0F7030069857D2E4169EE7"
)

// sold is one sale of notes, so long ago.
func sold(state string, before time.Duration, more ...func(*view.Sale)) view.Sale {
	s := view.Sale{
		Claimed: ago(before), Address: "http.notes", Namespace: "default", Name: "notes", Route: "/v1/*", State: state,
		Network: "base", Token: "USDC", Asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", Decimals: 6, Amount: "0.01", Atomic: "10000",
		Payer: buyer, PayTo: seller, ValidBefore: ago(before - 5*time.Minute), Nonce: "0x" + strings.Repeat("0", 63) + "7",
	}
	if state != "claimed" && state != "owed" {
		at := ago(before - time.Second)
		s.Ended = &at
	}
	for _, m := range more {
		m(&s)
	}
	return s
}

func because(reason string) func(*view.Sale) { return func(s *view.Sale) { s.Reason = &reason } }
func in(hash string) func(*view.Sale)        { return func(s *view.Sale) { s.Transaction = &hash } }
func play(s *view.Sale)                      { s.Network, s.Testnet = "base-sepolia", true }

func taken(address, network, token, amount string, n int) view.Takings {
	return view.Takings{Address: address, Namespace: "default", Name: "notes", Network: network, Testnet: network == "base-sepolia", Token: token,
		Asset: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", Decimals: 6, Sales: n, Amount: amount, Atomic: "1"}
}

// shop is a busy site.
func shop() view.Sales {
	return view.Sales{
		Site: "home",
		PerOffer: []view.Takings{
			taken("http.notes", "base", "USDC", "1234.5", 12345), taken("http.notes", "base-sepolia", "USDC", "0.02", 2), taken("inference.qwen", "base-sepolia", "OBOL", "7", 7),
		},
		InAll: []view.Takings{taken("", "base", "USDC", "1234.5", 12345), taken("", "base-sepolia", "USDC", "7.02", 9)},
		Sales: []view.Sale{
			sold("unknown", 26*time.Hour, because("the facilitator did not answer"), in("0x9f00000000000000000000000000000000000000000000000000000000000001")),
			sold("owed", 10*time.Minute),
			sold("settled", 4*time.Minute, in("0x9f02")),
			sold("failed", 3*time.Minute, because("insufficient_funds\x1b[2J")),
			sold("freed", 2*time.Minute, because("=HYPERLINK(\"the upstream answered 500\")"), play),
			sold("owed", time.Minute, play),
			sold("claimed", time.Second),
		},
		Unreadable: []view.UnreadableLedger{{Folder: "/state/sales/default.old", Error: "it is damaged"}},
	}
}

// TestSalesScreens keeps what people and programs read.
func TestSalesScreens(t *testing.T) {
	t.Parallel()
	many := view.Sales{Site: "home"}
	for range 25 {
		many.Sales = append(many.Sales, sold("unknown", time.Hour))
	}
	text := func(r view.Sales, each bool, s view.Style) []byte {
		s.Now = now
		return screen(t, func(b *bytes.Buffer) error { return view.SalesText(b, r, each, s) })
	}
	since := shop()
	since.Since = ago(24 * time.Hour)
	golden(t, "sales",
		txtar.File{Name: "text", Data: text(shop(), false, view.Style{})},
		txtar.File{Name: "each, since", Data: text(since, true, view.Style{Width: 120})},
		txtar.File{Name: "narrow and colored", Data: text(shop(), false, view.Style{Width: 40, Color: true})},
		txtar.File{Name: "quiet", Data: text(shop(), false, view.Style{Quiet: true})},
		txtar.File{Name: "quiet, all well", Data: text(view.Sales{PerOffer: shop().PerOffer}, false, view.Style{Quiet: true})},
		txtar.File{Name: "nothing", Data: text(view.Sales{Site: "home"}, false, view.Style{})},
		txtar.File{Name: "nothing since", Data: text(view.Sales{Site: "home", Since: since.Since}, true, view.Style{})},
		txtar.File{Name: "json", Data: screen(t, func(b *bytes.Buffer) error { return view.SalesJSON(b, since) })},
		txtar.File{Name: "json, nothing", Data: screen(t, func(b *bytes.Buffer) error { return view.SalesJSON(b, view.Sales{Site: "home"}) })},
		txtar.File{Name: "csv", Data: screen(t, func(b *bytes.Buffer) error { return view.SalesCSV(b, shop().Sales) })},
	)
	for all, want := range map[bool]int{false: 20, true: 25 + 25} {
		if got := bytes.Count(text(many, all, view.Style{}), []byte("unknown")); got != want {
			t.Errorf("of 25 sales that are unknown %d are written, want %d", got, want)
		}
	}
}

// TestSalesCSVIsHarmless: a spreadsheet runs nothing that a facilitator worded.
func TestSalesCSVIsHarmless(t *testing.T) {
	t.Parallel()
	for reason, want := range map[string]string{
		"=1+1": "'=1+1", "+1": "'+1", "-1": "'-1", "@SUM(A1)": "'@SUM(A1)", "a=b": "a=b", "": "", "\x1b]0;x": "\uFFFD]0;x",
	} {
		var b bytes.Buffer
		if err := view.SalesCSV(&b, []view.Sale{sold("failed", 0, because(reason))}); err != nil {
			t.Fatal(err)
		}
		_, row, _ := strings.Cut(b.String(), "\n")
		if got := strings.Split(row, ",")[16]; got != want {
			t.Errorf("reason %q: %s", reason, cmp.Diff(want, got))
		}
	}
}

// TestSalesNamesWhatItDoesNotCount: an offer that the cluster charges for is not
// one that sold nothing.
func TestSalesNamesWhatItDoesNotCount(t *testing.T) {
	t.Parallel()
	out := string(screen(t, func(b *bytes.Buffer) error {
		return view.SalesText(b, view.Sales{Site: "home", Elsewhere: []string{"inference.qwen"}}, false, view.Style{Now: now})
	}))
	if !strings.Contains(out, "Not counted: inference.qwen. The cluster charges") {
		t.Errorf("it does not name what it leaves out:\n%s", out)
	}
}
