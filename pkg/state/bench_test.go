package state_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
	"github.com/obolctl/obolctl/pkg/state"
)

// BenchmarkMemory reads the memory of 1,000 offers: 60 ms at most are promised.
func BenchmarkMemory(b *testing.B) {
	site := bigSite(b, 1000)
	for b.Loop() {
		m, err := site.Memory()
		if err != nil {
			b.Fatal(err)
		}
		if len(m.Accepted.Set.Offers) != 1000 {
			b.Fatalf("%d offers", len(m.Accepted.Set.Offers))
		}
	}
}

// bigSite accepted n offers, each with a Service, an EndpointSlice, a gateway
// and a ServiceOffer, and made them.
func bigSite(tb testing.TB, n int) *state.Site {
	tb.Helper()
	site, err := state.Open(tb.TempDir(), "home")
	if err != nil {
		tb.Fatal(err)
	}
	tx, err := site.Lock(tb.Context(), "test", 0)
	if err != nil {
		tb.Fatal(err)
	}
	set := plan.Set{Source: plan.Source{Path: "/home/op/offers.hcl", SHA256: "0f"}}
	made := map[resource.ID]string{}
	for i := range n {
		addOffer(&set, i)
	}
	for i, s := range set.Specs {
		if s.ID.Home() == resource.Cluster {
			made[s.ID] = fmt.Sprintf("6f1c2f0e-9c5b-4d62-a9c4-%012d", i)
		}
	}
	if _, err := tx.Accept(plan.Accepted{By: "op", At: time.Unix(1_700_000_000, 0).UTC(), Set: set}); err != nil {
		tb.Fatal(err)
	}
	if err := tx.Record(state.Facts{Holder: "h", BootID: "b", Made: made}); err != nil {
		tb.Fatal(err)
	}
	if err := tx.Close(); err != nil {
		tb.Fatal(err)
	}
	return site
}

func addOffer(set *plan.Set, i int) {
	name := fmt.Sprintf("qwen-%04d", i)
	at := offer.Source{File: "offers.hcl", Line: 31 + 8*i}
	o := offer.Offer{
		Address: offer.Address{Type: offer.Inference, Label: name}, Type: offer.Inference,
		Namespace: "llm", Name: name, Path: "/services/" + name,
		Upstream: offer.Upstream{URL: "http://127.0.0.1:11434", HealthPath: "/api/version"},
		Model:    offer.Model{Name: "qwen3.5:35b", Runtime: "ollama"},
		Gateway:  offer.Gateway{Port: 8402 + i},
		Listing:  offer.Listing{Weight: 10, Category: "llm"},
		Payments: []offer.Payment{{
			Scheme: "exact", Network: "base-sepolia", PayTo: "0x52908400098527886E0F7030069857D2E4169EE7",
			Token: offer.Token{Symbol: "USDC", Address: "0x036CbD53842c5426634e7929541eC2318f3dCF7e", Decimals: 6,
				TransferMethod: "eip3009", EIP712Name: "USDC", EIP712Version: "2"},
			Price:      offer.Price{Unit: offer.PerMTok, Amount: "0.5"},
			MaxTimeout: 300 * time.Second,
		}},
		At: at,
	}
	set.Offers = append(set.Offers, o)
	for _, kind := range []string{resource.Service, resource.EndpointSlice, resource.ServiceOffer} {
		set.Specs = append(set.Specs, resource.Spec{
			ID: resource.ID{Kind: kind, Namespace: "llm", Name: name}, Offer: o.Key(), At: at,
			Object: object(kind, name),
		})
	}
	set.Specs = append(set.Specs, resource.Spec{
		ID: resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: name}, Offer: o.Key(), At: at, OnHost: true,
		Gateway: &resource.Gateway{
			Schema: 1, Offer: o.Key(), Address: o.Address, Site: "home", Upstream: o.Upstream.URL,
			Listen:     []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(8402+i))},
			HealthPath: o.Upstream.HealthPath, Names: []string{name + ".llm.svc", name + ".llm.svc.cluster.local"},
		},
	})
}

// object is about as large as the real ones are.
func object(kind, name string) map[string]any {
	return map[string]any{
		"apiVersion": "obol.org/v1alpha1",
		"kind":       kind,
		"metadata": map[string]any{
			"name": name, "namespace": "llm",
			"labels":      map[string]any{"offers.obolctl.io/site": "home", "app.kubernetes.io/name": name},
			"annotations": map[string]any{"offers.obolctl.io/address": "inference." + name, "offers.obolctl.io/holder": "0123456789abcdef"},
		},
		"spec": map[string]any{
			"type": "inference", "path": "/services/" + name,
			"upstream": map[string]any{"service": name, "namespace": "llm", "port": 8402.0, "healthPath": "/health"},
			"payment": map[string]any{
				"scheme": "exact", "network": "base-sepolia", "payTo": "0x52908400098527886E0F7030069857D2E4169EE7",
				"maxTimeoutSeconds": 300.0, "price": map[string]any{"perMTok": "0.5"},
				"asset": map[string]any{"address": "0x036CbD53842c5426634e7929541eC2318f3dCF7e", "symbol": "USDC", "decimals": 6.0},
			},
			"listing": map[string]any{"weight": 10.0, "category": "llm"},
		},
	}
}
