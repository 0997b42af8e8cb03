package selling_test

import (
	std "cmp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

const (
	wallet      = "0x52908400098527886E0F7030069857D2E4169EE7"
	facilitator = "http://127.0.0.1:4021"
	stranger    = "0x1111111111111111111111111111111111111111"
)

func TestPayments(t *testing.T) {
	t.Parallel()
	base, _ := offer.LookupNetwork("base")
	sepolia, _ := offer.LookupNetwork("base-sepolia")
	obol, _ := sepolia.Token("OBOL")
	zero, two := int64(0), int64(2)
	payment := func(change func(*v1alpha1.Payment)) []v1alpha1.Payment {
		p := v1alpha1.Payment{Scheme: "exact", Network: "base-sepolia", PayTo: wallet, MaxTimeoutSeconds: 60, Price: v1alpha1.Price{PerRequest: "0.01"}}
		change(&p)
		return []v1alpha1.Payment{p}
	}
	want := func(change func(*offer.Payment)) []offer.Payment {
		p := offer.Payment{
			Scheme: "exact", Network: "base-sepolia", PayTo: wallet, Token: sepolia.Tokens[0], MaxTimeout: time.Minute,
			Price: offer.Price{Unit: offer.PerRequest, Amount: "0.01"}, Facilitators: []string{facilitator},
		}
		change(&p)
		return []offer.Payment{p}
	}
	tests := map[string]struct {
		said []v1alpha1.Payment
		want []offer.Payment
	}{
		"usdc of the chain": {payment(func(*v1alpha1.Payment) {}), want(func(*offer.Payment) {})},
		"an alias, and the schema's defaults": {
			payment(func(p *v1alpha1.Payment) { p.Network, p.Scheme, p.MaxTimeoutSeconds = "base-mainnet", "", 0 }),
			want(func(p *offer.Payment) { p.Network, p.Token, p.MaxTimeout = "base", base.Tokens[0], 5*time.Minute }),
		},
		"per million tokens": {
			payment(func(p *v1alpha1.Payment) { p.Price = v1alpha1.Price{PerMTok: "0.50"} }),
			want(func(p *offer.Payment) { p.Price = offer.Price{Unit: offer.PerMTok, Amount: "0.5"} }),
		},
		"a known token by address": {
			payment(func(p *v1alpha1.Payment) { p.Asset = &v1alpha1.Asset{Address: strings.ToLower(obol.Address)} }),
			want(func(p *offer.Payment) {
				p.Token, p.TokenGiven = obol, true
				p.Token.Address = strings.ToLower(obol.Address)
			}),
		},
		"a known token by symbol": {
			payment(func(p *v1alpha1.Payment) { p.Asset = &v1alpha1.Asset{Symbol: "OBOL"} }),
			want(func(p *offer.Payment) { p.Token, p.TokenGiven = obol, true }),
		},
		"an unknown token": {
			payment(func(p *v1alpha1.Payment) { p.Asset = &v1alpha1.Asset{Address: stranger, Decimals: &two} }),
			want(func(p *offer.Payment) {
				p.TokenGiven = true
				p.Token = offer.Token{Symbol: stranger, Address: stranger, Decimals: 2, TransferMethod: "permit2"}
			}),
		},
		"what the asset says holds": {
			payment(func(p *v1alpha1.Payment) {
				p.Price.PerRequest = "3"
				p.Asset = &v1alpha1.Asset{Symbol: "USDC", Decimals: &zero, TransferMethod: "permit2", EIP712Name: "Coin", EIP712Version: "9"}
			}),
			want(func(p *offer.Payment) {
				p.TokenGiven, p.Price.Amount = true, "3"
				p.Token = offer.Token{Symbol: "USDC", Address: sepolia.Tokens[0].Address, TransferMethod: "permit2", EIP712Name: "Coin", EIP712Version: "9"}
			}),
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Payment: tc.said[0]}}
			got, err := selling.Payments(o, facilitator)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("payments (-want +got):\n%s", diff)
			}
		})
	}
}

// The list alone counts as soon as it has an entry.
func TestPaymentsOfAList(t *testing.T) {
	t.Parallel()
	pay := func(network string) v1alpha1.Payment {
		return v1alpha1.Payment{Network: network, PayTo: wallet, Price: v1alpha1.Price{PerRequest: "0.01"}}
	}
	o := &v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{
		Payment: pay("ethereum"), Payments: []v1alpha1.Payment{pay("base"), pay("polygon")},
	}}
	got, err := selling.Payments(o, facilitator)
	if err != nil {
		t.Fatal(err)
	}
	var networks []string
	for _, p := range got {
		networks = append(networks, p.Network)
	}
	if diff := cmp.Diff([]string{"base", "polygon"}, networks); diff != "" {
		t.Errorf("networks (-want +got):\n%s", diff)
	}
}

func TestPaymentsThatNobodyCanCharge(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		payment v1alpha1.Payment
		want    string
	}{
		"no price":             {v1alpha1.Payment{Network: "base"}, "no price"},
		"two prices":           {v1alpha1.Payment{Network: "base", Price: v1alpha1.Price{PerRequest: "1", PerHour: "1"}}, "2 prices"},
		"a currency sign":      {v1alpha1.Payment{Network: "base", Price: v1alpha1.Price{PerRequest: "$1"}}, "not a decimal"},
		"finer than the token": {v1alpha1.Payment{Network: "base", Price: v1alpha1.Price{PerMTok: "0.0001"}}, "finer than"},
		"an unknown network":   {v1alpha1.Payment{Network: "sepolia", Price: v1alpha1.Price{PerRequest: "1"}}, `"sepolia"`},
		"an unknown symbol":    {v1alpha1.Payment{Network: "base", Asset: &v1alpha1.Asset{Symbol: "WETH"}, Price: v1alpha1.Price{PerRequest: "1"}}, "needs an address"},
		"unknown decimals":     {v1alpha1.Payment{Network: "base", Asset: &v1alpha1.Asset{Address: stranger}, Price: v1alpha1.Price{PerRequest: "1"}}, "needs decimals"},
		"time runs backwards":  {v1alpha1.Payment{Network: "base", MaxTimeoutSeconds: -1, Price: v1alpha1.Price{PerRequest: "1"}}, "out of range"},
		"longer than any time": {v1alpha1.Payment{Network: "base", MaxTimeoutSeconds: 1 << 62, Price: v1alpha1.Price{PerRequest: "1"}}, "out of range"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Payment: tc.payment}}
			if got, err := selling.Payments(o, facilitator); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Payments = %v, %v; want an error that says %q", got, err, tc.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	o := &v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{
		Payment: v1alpha1.Payment{Network: "base", PayTo: wallet, Price: v1alpha1.Price{PerRequest: "1"}},
		Routes: []v1alpha1.Route{
			{Path: "/free", Gate: "free", Methods: []v1alpha1.Method{"GET"}},
			{Path: "/dear/*", Price: &v1alpha1.Price{PerRequest: "2.0"}, Summary: "Dear"},
		},
	}}
	got, err := selling.Routes(o)
	if err != nil {
		t.Fatal(err)
	}
	want := []offer.Route{
		{Path: "/free", Gate: "free", Methods: []string{"GET"}},
		{Path: "/dear/*", Gate: "paid", Price: &offer.Price{Unit: offer.PerRequest, Amount: "2"}, Summary: "Dear"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	o.Spec.Routes[1].Price.PerRequest = "0.0000001"
	if _, err := selling.Routes(o); err == nil || !strings.Contains(err.Error(), "/dear/*") {
		t.Errorf("a price that the token cannot hold: %v", err)
	}
}

func TestPlace(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		spec v1alpha1.ServiceOfferSpec
		want string
	}{
		"by its name":       {v1alpha1.ServiceOfferSpec{}, "http://edge:1/services/eu"},
		"its own path":      {v1alpha1.ServiceOfferSpec{Path: "/shop/eu/"}, "http://edge:1/shop/eu"},
		"a host of its own": {v1alpha1.ServiceOfferSpec{Path: "/shop", Hostname: "Eu.Example.org"}, "https://eu.example.org"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.ServiceOffer{ObjectMeta: metav1.ObjectMeta{Name: "eu"}, Spec: tc.spec}
			if got := selling.URL(o, "http://edge:1/"); got != tc.want {
				t.Errorf("URL = %q, want %q", got, tc.want)
			}
		})
	}
}

// TestOlder: a tie is broken by the whole of namespace/name, in which a dash
// comes before the slash.
func TestOlder(t *testing.T) {
	t.Parallel()
	made := func(namespace, name string, at int64) *v1alpha1.ServiceOffer {
		return &v1alpha1.ServiceOffer{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, CreationTimestamp: metav1.Unix(at, 0)}}
	}
	order := []*v1alpha1.ServiceOffer{made("z", "z", 1), made("shop-a", "x", 2), made("shop", "x", 2), made("shop", "y", 2), made("a", "a", 3)}
	for i, a := range order {
		for j, b := range order {
			if got := selling.Older(a, b); got != std.Compare(i, j) {
				t.Errorf("Older(%s/%s, %s/%s) = %d", a.Namespace, a.Name, b.Namespace, b.Name, got)
			}
		}
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	text := func(s string) *string { return &s }
	tests := map[string]struct {
		grace *string
		ends  time.Duration // after at
	}{
		"an hour when it does not say": {nil, time.Hour},
		"what it says":                 {text("30m"), 30 * time.Minute},
		"at once":                      {text("0s"), 0},
		"no duration":                  {text("soon"), time.Hour},
		"before it begins":             {text("-5m"), 0},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{DrainAt: &metav1.Time{Time: at}, DrainGracePeriod: tc.grace}}
			end, draining := selling.DrainEnds(o)
			if !draining || !end.Equal(at.Add(tc.ends)) {
				t.Errorf("DrainEnds = %v, %v; want %v", end, draining, at.Add(tc.ends))
			}
			if selling.Drained(o, end.Add(-time.Nanosecond)) || !selling.Drained(o, end) {
				t.Error("it is not drained from its end on")
			}
		})
	}
	if _, draining := selling.DrainEnds(&v1alpha1.ServiceOffer{}); draining || selling.Drained(&v1alpha1.ServiceOffer{}, at) {
		t.Error("an offer drains that nobody drains")
	}
}

func TestSellable(t *testing.T) {
	t.Parallel()
	first := []string{selling.ModelReady, selling.UpstreamHealthy, selling.PaymentGateReady, selling.RoutePublished}
	tests := map[string]struct {
		holds []string
		want  bool
	}{
		"nothing seen yet":      {nil, false},
		"ready":                 {[]string{selling.Ready}, true},
		"all but registered":    {first, true},
		"no route":              {first[:3], false},
		"only registered":       {[]string{selling.Registered}, false},
		"the gate is not there": {[]string{first[0], first[1], first[3], selling.Registered}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := &v1alpha1.ServiceOffer{Status: v1alpha1.ServiceOfferStatus{Conditions: []v1alpha1.Condition{{Type: selling.Ready, Status: "False"}}}}
			for _, kind := range tc.holds {
				if c := selling.Condition(o, kind); c != nil {
					c.Status = "True"
					continue
				}
				o.Status.Conditions = append(o.Status.Conditions, v1alpha1.Condition{Type: kind, Status: "True"})
			}
			if got := selling.Sellable(o); got != tc.want {
				t.Errorf("Sellable = %v, want %v", got, tc.want)
			}
		})
	}
}

func TestRegistration(t *testing.T) {
	t.Parallel()
	o := &v1alpha1.ServiceOffer{}
	if got := selling.Registration(o); got != nil {
		t.Errorf("an offer that says nothing says %v", got)
	}
	o.Spec.Registration = &v1alpha1.Registration{Name: "Weather", Services: []v1alpha1.RegistrationService{{Name: "a2a", Endpoint: "https://x", Version: "1"}}}
	want := &offer.Registration{Name: "Weather", Services: []offer.RegistrationService{{Name: "a2a", Endpoint: "https://x", Version: "1"}}}
	if diff := cmp.Diff(want, selling.Registration(o)); diff != "" {
		t.Errorf("registration (-want +got):\n%s", diff)
	}
}

func TestModel(t *testing.T) {
	t.Parallel()
	resolved := v1alpha1.ServiceOfferStatus{AgentResolution: &v1alpha1.AgentResolution{Model: "qwen3"}}
	tests := map[string]struct {
		offer v1alpha1.ServiceOffer
		want  string
	}{
		"inference":          {v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Type: "inference", Model: &v1alpha1.Model{Name: "llama"}}}, "llama"},
		"an agent's":         {v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Type: "agent"}, Status: resolved}, "qwen3"},
		"no agent any more":  {v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Type: "http"}, Status: resolved}, ""},
		"an agent not ready": {v1alpha1.ServiceOffer{Spec: v1alpha1.ServiceOfferSpec{Type: "agent"}}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := selling.Model(&tc.offer); got != tc.want {
				t.Errorf("Model = %q, want %q", got, tc.want)
			}
		})
	}
}
