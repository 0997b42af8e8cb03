package buyer_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ethereum/go-ethereum/common"

	"github.com/obolctl/obolctl/sandbox/internal/buyer"
	"github.com/obolctl/obolctl/sandbox/internal/chain"
	"github.com/obolctl/obolctl/sandbox/internal/facilitator"
)

const payee = "0x00000000000000000000000000000000005E11e7"

type object = map[string]any

var usdc = object{
	"scheme": "exact", "network": "eip155:84532", "amount": "1500", "asset": chain.USDC.Hex(), "payTo": payee,
	"maxTimeoutSeconds": 60, "extra": object{"name": "USDC", "version": "2"},
}

var obol = object{
	"scheme": "exact", "network": "eip155:84532", "amount": "2000000000000000000", "asset": chain.OBOL.Hex(), "payTo": payee,
	"maxTimeoutSeconds": 60, "extra": object{"name": "Obol Network", "version": "1", "assetTransferMethod": "permit2"},
}

// v1 is usdc as version 1 spells it.
var v1 = object{
	"scheme": "exact", "network": "base-sepolia", "maxAmountRequired": "1500", "asset": chain.USDC.Hex(), "payTo": payee,
	"maxTimeoutSeconds": 60, "extra": object{"name": "USDC", "version": "2"},
	"resource": "http://localhost/", "description": "", "mimeType": "",
}

func but(o object, key string, value any) object {
	changed := object{}
	for k, v := range o {
		changed[k] = v
	}
	changed[key] = value
	return changed
}

// A shop sells one thing: it has each payment settled before it answers.
type shop struct {
	t           *testing.T
	facilitator string
	options     []object // in the header; none: no header
	body        object   // of the 402
	receipt     string   // given out instead of the facilitator's
	trailer     bool     // the receipt comes at the end
	breaks      bool     // the answer has no end
	got         []*http.Request
	paid        []object
}

func (s *shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	s.got = append(s.got, r)
	version, name := 2, "PAYMENT-RESPONSE"
	header := r.Header.Get("PAYMENT-SIGNATURE")
	if x := r.Header.Get("X-PAYMENT"); x != "" {
		version, name, header = 1, "X-PAYMENT-RESPONSE", x
	}
	if header == "" {
		s.challenge(w)
		return
	}
	settled := s.settle(header, version)
	if s.receipt != "" {
		settled = []byte(s.receipt)
	}
	if s.trailer {
		w.Header().Set("Trailer", name)
	} else {
		w.Header().Set(name, base64.StdEncoding.EncodeToString(settled))
	}
	if !bytes.Contains(settled, []byte(`"success":true`)) {
		w.WriteHeader(http.StatusPaymentRequired)
		return
	}
	fmt.Fprintln(w, "the goods")
	w.(http.Flusher).Flush()
	if s.breaks {
		panic(http.ErrAbortHandler)
	}
	if s.trailer {
		w.Header().Set(name, base64.StdEncoding.EncodeToString(settled))
	}
}

func (s *shop) challenge(w http.ResponseWriter) {
	if s.options != nil {
		w.Header().Set("PAYMENT-REQUIRED", base64.StdEncoding.EncodeToString(s.encode(object{
			"x402Version": 2, "accepts": s.options, "resource": object{"url": "http://localhost/"},
			"extensions": object{"echo": object{"info": "me"}},
		})))
	}
	w.WriteHeader(http.StatusPaymentRequired)
	if s.body != nil {
		if _, err := w.Write(s.encode(s.body)); err != nil {
			s.t.Error(err)
		}
	}
}

// settle has a payment settled on the terms that it accepted.
func (s *shop) settle(header string, version int) []byte {
	data, err := base64.StdEncoding.DecodeString(header)
	if err != nil {
		s.t.Error(err)
	}
	var payment object
	if err := json.Unmarshal(data, &payment); err != nil {
		s.t.Error(err)
	}
	s.paid = append(s.paid, payment)
	terms := payment["accepted"]
	if version == 1 {
		terms = v1
	}
	resp, err := http.Post(s.facilitator+"/settle", "application/json", bytes.NewReader(s.encode(object{
		"x402Version": version, "paymentPayload": payment, "paymentRequirements": terms,
	})))
	if err != nil {
		s.t.Error(err)
		return nil
	}
	defer resp.Body.Close()
	settled, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Error(err)
	}
	return settled
}

func (s *shop) encode(o object) []byte {
	data, err := json.Marshal(o)
	if err != nil {
		s.t.Error(err)
	}
	return data
}

// open is a shop with a facilitator and a chain of its own, and a buyer.
func open(t *testing.T, s *shop) (url string, b buyer.Buyer, out *strings.Builder) {
	t.Helper()
	c, err := chain.Start(chain.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	f := httptest.NewServer(facilitator.New(c))
	t.Cleanup(f.Close)
	s.t, s.facilitator = t, f.URL
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	out = new(strings.Builder)
	return server.URL, buyer.Buyer{Key: chain.BuyerKey(), Chain: c.Client(), ID: chain.ID, Out: out}, out
}

func TestBuys(t *testing.T) {
	t.Parallel()
	both := []object{usdc, obol}
	tests := map[string]struct {
		shop    shop
		request buyer.Request
		says    []string
		header  string
	}{
		"v2": {
			shop{options: both}, buyer.Request{},
			[]string{
				"  0.0015 USDC to " + payee + " on eip155:84532, scheme exact by EIP-3009: taken\n",
				"  2 OBOL to " + payee + " on eip155:84532, scheme exact by Permit2\n",
				"paying with Payment-Signature: 200 OK", "the goods", " on eip155:84532\n",
				"1000000 USDC → 999999.9985 USDC", "seller " + payee + "  0 USDC → 0.0015 USDC",
			}, "Payment-Signature",
		},
		"by symbol": {
			shop{options: both}, buyer.Request{Asset: "obol"},
			[]string{"by EIP-3009: another asset is wanted", "by Permit2: taken", "1000000 OBOL → 999998 OBOL"}, "Payment-Signature",
		},
		"by address": {
			shop{options: both}, buyer.Request{Asset: strings.ToLower(chain.OBOL.Hex())},
			[]string{"1000000 OBOL → 999998 OBOL"}, "Payment-Signature",
		},
		"v1": {
			shop{body: object{"x402Version": 1, "accepts": []object{v1}}}, buyer.Request{},
			[]string{"in x402 version 1", "X-Payment: 200 OK", " on base-sepolia\n", "0 USDC → 0.0015 USDC"}, "X-Payment",
		},
		"v1, though v2 is there": {
			shop{options: both, body: object{"x402Version": 1, "accepts": []object{v1}}}, buyer.Request{V1: true},
			[]string{"in x402 version 1", "X-Payment: 200 OK"}, "X-Payment",
		},
		"v2, though v1 is there": {
			shop{options: both, body: object{"x402Version": 1, "accepts": []object{v1}}}, buyer.Request{},
			[]string{"in x402 version 2"}, "Payment-Signature",
		},
		"v2 in the body": {
			shop{body: object{"x402Version": 2, "accepts": both}}, buyer.Request{},
			[]string{"in x402 version 2", "200 OK"}, "Payment-Signature",
		},
		"what it cannot pay is passed over": {
			shop{options: []object{
				but(usdc, "network", "eip155:8453"), but(usdc, "scheme", "upto"), but(usdc, "extra", object{}),
				but(usdc, "amount", "1000000000001"), but(usdc, "amount", "1.5"), but(usdc, "asset", payee), usdc,
			}},
			buyer.Request{},
			[]string{
				"1500 " + chain.USDC.Hex() + " to " + payee + " on eip155:8453, scheme exact by EIP-3009: it is on another chain",
				"the scheme is not known", "EIP-712", "the buyer has 1000000 USDC", "it costs", "is no token",
				"0.0015 USDC to " + payee + " on eip155:84532, scheme exact by EIP-3009: taken",
			}, "Payment-Signature",
		},
		"receipt in a trailer": {
			shop{options: both, trailer: true}, buyer.Request{}, []string{"the goods", "0 USDC → 0.0015 USDC"}, "Payment-Signature",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, b, out := open(t, &tc.shop)
			tc.request.URL = url
			if err := b.Buy(t.Context(), tc.request); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			for _, part := range tc.says {
				if !strings.Contains(out.String(), part) {
					t.Errorf("it does not say %q:\n%s", part, out)
				}
			}
			if len(tc.shop.got) != 2 || tc.shop.got[1].Header.Get(tc.header) == "" {
				t.Errorf("it asked %d times, at last with %v", len(tc.shop.got), tc.shop.got[len(tc.shop.got)-1].Header)
			}
		})
	}
}

// TestAsksAsTold: with the same request both times, and what was sent is echoed.
func TestAsksAsTold(t *testing.T) {
	t.Parallel()
	s := &shop{options: []object{usdc}}
	url, b, out := open(t, s)
	err := b.Buy(t.Context(), buyer.Request{
		URL: url + "/v1/chat?x=1", Body: `{"model":"m"}`, Header: http.Header{"Accept": {"text/plain, */*"}, "Host": {"shop.example.org"}},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for i, r := range s.got {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		if r.Method != http.MethodPost || r.RequestURI != "/v1/chat?x=1" || string(body) != `{"model":"m"}` ||
			r.Header.Get("Accept") != "text/plain, */*" || r.Host != "shop.example.org" {
			t.Errorf("request %d is %s %s%s %s %v", i, r.Method, r.Host, r.RequestURI, body, r.Header)
		}
	}
	if got := fmt.Sprint(s.paid[0]["resource"], s.paid[0]["extensions"]); got != "map[url:http://localhost/] map[echo:map[info:me]]" {
		t.Errorf("it echoes %s", got)
	}
}

func TestDoesNotBuy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		shop    shop
		request buyer.Request
		chain   uint64
		want    string
		asked   int
	}{
		"another chain behind the RPC": {shop{options: []object{usdc}}, buyer.Request{}, 8453, "this is chain 84532, not the sandbox's", 0},
		"another chain is asked for": {
			shop{options: []object{but(usdc, "network", "eip155:8453")}}, buyer.Request{}, chain.ID, "no way to pay", 1,
		},
		"another asset is wanted": {shop{options: []object{usdc}}, buyer.Request{Asset: "OBOL"}, chain.ID, "no way to pay", 1},
		"nothing is asked for":    {shop{}, buyer.Request{}, chain.ID, "says nothing", 1},
		"v1 is not there":         {shop{options: []object{usdc}}, buyer.Request{V1: true}, chain.ID, "malformed", 1},
		"version 3":               {shop{body: object{"x402Version": 3}}, buyer.Request{}, chain.ID, "of x402 version 3", 1},
		"a receipt that says no": {
			shop{options: []object{usdc}, receipt: `{"success":false,"errorReason":"insufficient_funds"}`},
			buyer.Request{}, chain.ID, "402 Payment Required: insufficient_funds", 2,
		},
		"a receipt of no transaction": {
			shop{options: []object{usdc}, receipt: `{"success":true,"transaction":"` + common.Hash{1}.Hex() + `"}`},
			buyer.Request{}, chain.ID, "a transaction that the chain does not have", 2,
		},
		"an answer that breaks off": {shop{options: []object{usdc}, breaks: true}, buyer.Request{}, chain.ID, "broke off", 2},
		"a malformed receipt":       {shop{options: []object{usdc}, receipt: `"success":true`}, buyer.Request{}, chain.ID, "malformed", 2},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, b, out := open(t, &tc.shop)
			tc.request.URL, b.ID = url, tc.chain
			err := b.Buy(t.Context(), tc.request)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("it ends with %v\n%s", err, out)
			}
			if len(tc.shop.got) != tc.asked {
				t.Errorf("it asked %d times", len(tc.shop.got))
			}
		})
	}
}

// TestWhatIsFree is not bought, and what does not answer is not either.
func TestWhatIsFree(t *testing.T) {
	t.Parallel()
	_, b, out := open(t, &shop{})
	free := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Repeat("x", 20<<10))
	}))
	err := b.Buy(t.Context(), buyer.Request{URL: free.URL})
	if err == nil || !strings.Contains(err.Error(), "it asks for no payment: it answers 200 OK") {
		t.Errorf("it ends with %v", err)
	}
	if !strings.Contains(out.String(), "xxx\n(4096 bytes more)") {
		t.Errorf("of 20 KB it says %d bytes, at last %q", out.Len(), out.String()[out.Len()-30:])
	}
	free.Close()
	if err := b.Buy(t.Context(), buyer.Request{URL: free.URL}); err == nil || !strings.Contains(err.Error(), "cannot ask") {
		t.Errorf("with nobody there it ends with %v", err)
	}
}

// TestReceiptOfAnotherSale: a transaction that paid somebody, but not this price
// to this seller, is no proof.
func TestReceiptOfAnotherSale(t *testing.T) {
	t.Parallel()
	s := &shop{options: []object{usdc}}
	url, b, out := open(t, s)
	if err := b.Buy(t.Context(), buyer.Request{URL: url}); err != nil {
		t.Fatal(err)
	}
	_, hash, _ := strings.Cut(out.String(), "transaction  ")
	s.receipt = fmt.Sprintf(`{"success":true,"transaction":%q}`, hash[:66])
	s.options = []object{but(usdc, "amount", "1501")}
	if err := b.Buy(t.Context(), buyer.Request{URL: url}); err == nil || !strings.Contains(err.Error(), "does not pay this") {
		t.Errorf("it ends with %v\n%s", err, out)
	}
}
