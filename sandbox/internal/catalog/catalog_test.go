package catalog_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

var update = flag.Bool("update", false, "write the files in testdata anew")

const (
	base   = "http://127.0.0.1:8080"
	wallet = "0x52908400098527886E0F7030069857D2E4169EE7"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// live is an offer that is Ready and costs a cent of base-sepolia's USDC.
func live(namespace, name string) v1alpha1.ServiceOffer {
	return v1alpha1.ServiceOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: v1alpha1.ServiceOfferSpec{
			Type:    "http",
			Payment: v1alpha1.Payment{Network: "base-sepolia", PayTo: wallet, Price: v1alpha1.Price{PerRequest: "0.01"}},
		},
		Status: v1alpha1.ServiceOfferStatus{Conditions: []v1alpha1.Condition{{Type: selling.Ready, Status: "True"}}},
	}
}

// shop has an offer of every kind that buyers can see, and some that they
// cannot.
func shop() []v1alpha1.ServiceOffer {
	weather := live("default", "weather")
	weather.Spec.Registration = &v1alpha1.Registration{Description: "Weather | by the *hour*\nand by the day", Skills: []string{"forecast"}}
	weather.Spec.Routes = []v1alpha1.Route{{Path: "/about", Gate: "free"}, {Path: "/v1/*/day/*", Methods: []v1alpha1.Method{"GET", "POST"}}}

	qwen := live("llm", "qwen")
	qwen.Spec.Type, qwen.Spec.Model = "inference", &v1alpha1.Model{Name: "qwen3:32b", Runtime: "ollama"}
	qwen.Spec.Payment.Price = v1alpha1.Price{PerMTok: "0.50"}
	qwen.Spec.Payments = []v1alpha1.Payment{qwen.Spec.Payment, {
		Network: "base-sepolia", PayTo: wallet, Asset: &v1alpha1.Asset{Symbol: "OBOL"}, Price: v1alpha1.Price{PerRequest: "0.02"},
	}}
	qwen.Spec.Listing = &v1alpha1.Listing{Weight: 10, Category: "models"}
	qwen.Spec.Registration = &v1alpha1.Registration{Enabled: true}
	qwen.Status.Conditions = nil
	for _, kind := range []string{selling.ModelReady, selling.UpstreamHealthy, selling.PaymentGateReady, selling.RoutePublished} {
		qwen.Status.Conditions = append(qwen.Status.Conditions, v1alpha1.Condition{Type: kind, Status: "True"})
	}

	draining := live("default", "old")
	draining.Spec.DrainAt = &metav1.Time{Time: now.Add(-time.Minute)}
	draining.Spec.Hostname = "old.example.org"
	polygon := live("default", "polygon")
	polygon.Spec.Payment.Network = "polygon"
	free := live("default", "free")
	free.Spec.Routes = []v1alpha1.Route{{Path: "/*", Gate: "free"}}

	other := live("z", "weather")
	other.Spec.Path = "/z/weather"

	drained := live("default", "drained")
	drained.Spec.DrainAt = &metav1.Time{Time: now.Add(-time.Hour)}
	waiting := live("default", "waiting")
	waiting.Status.Conditions[0].Status = "False"
	priceless := live("default", "priceless")
	priceless.Spec.Payment.Price = v1alpha1.Price{}
	return []v1alpha1.ServiceOffer{draining, weather, drained, qwen, other, waiting, polygon, priceless, free}
}

func TestDocuments(t *testing.T) {
	t.Parallel()
	documents := map[string]func([]v1alpha1.ServiceOffer, string, time.Time) ([]byte, error){
		"services.json": catalog.Services, "skill.md": catalog.Skill,
	}
	for file, encode := range documents {
		for state, offers := range map[string][]v1alpha1.ServiceOffer{"full": shop(), "empty": nil} {
			t.Run(state+" "+file, func(t *testing.T) {
				t.Parallel()
				got, err := encode(offers, base+"/", now)
				if err != nil {
					t.Fatal(err)
				}
				golden(t, filepath.Join("testdata", state+"-"+file), got)
			})
		}
	}
}

// TestDescriptionsAreWords: nothing that a seller writes is Markdown, and nothing
// moves the cursor of a terminal.
func TestDescriptionsAreWords(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"- a list":              `\- a list`,
		"\x1b\x00- a list":      `\- a list`,
		"---":                   `\---`,
		"=== & so on":           `\=== \& so on`,
		"1. a list":             `1\. a list`,
		"23) a list":            `23\) a list`,
		"7.":                    `7\.`,
		"42":                    "42",
		"3.5 stars, in 2.0":     "3.5 stars, in 2.0",
		"a - b at 0.5":          "a - b at 0.5",
		"&lt;b&gt; <b>":         `\&lt;b\&gt; \<b\>`,
		"red \x1b[31mhot\u202e": `red \[31mhot`,
		"two\n\n# lines":        `two \# lines`,
	} {
		o := live("shop", "x")
		o.Spec.Registration = &v1alpha1.Registration{Description: said}
		text, err := catalog.Skill([]v1alpha1.ServiceOffer{o}, base, now)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(text), "\n\n"+want+"\n\n- endpoint") {
			t.Errorf("%q is not %q in\n%s", said, want, text)
		}
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
