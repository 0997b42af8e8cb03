// Preview serves the storefront in each of its states, to be looked at and to be
// tested in a browser: /full, /draining, /empty, /many, /long. It says its URL
// in one line of JSON, and ends when its standard input does.
package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/catalog"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
	"github.com/obolctl/obolctl/sandbox/internal/storefront"
)

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "preview:", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	base := "http://" + l.Addr().String()
	mux := http.NewServeMux()
	for state, offers := range states(time.Now()) {
		mux.HandleFunc("GET /"+state, func(w http.ResponseWriter, _ *http.Request) {
			serve(w, offers, base)
		})
	}
	server := &http.Server{Handler: mux, ReadHeaderTimeout: time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		_ = server.Close()
	}()
	fmt.Fprintf(out, "{\"url\":%q}\n", base)
	if err := server.Serve(l); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func serve(w http.ResponseWriter, offers []v1alpha1.ServiceOffer, base string) {
	now := time.Now()
	services, err := catalog.Services(offers, base, now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	page, err := storefront.Page(services, now)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = w.Write(page) // a browser that left needs no page
}

func states(now time.Time) map[string][]v1alpha1.ServiceOffer {
	return map[string][]v1alpha1.ServiceOffer{
		"full":     full(now),
		"draining": {draining(live("weather", "Forecasts for any place, by the hour."), now.Add(25*time.Minute))},
		"empty":    nil,
		"many":     many(now),
		"long":     long(),
	}
}

// live is an offer that is Ready and costs a cent on a test network.
func live(name, about string) v1alpha1.ServiceOffer {
	o := v1alpha1.ServiceOffer{}
	o.Namespace, o.Name = "default", name
	o.Spec.Type = "http"
	o.Spec.Payment = v1alpha1.Payment{
		Network: "base-sepolia", PayTo: "0x52908400098527886E0F7030069857D2E4169EE7", Price: v1alpha1.Price{PerRequest: "0.01"},
	}
	o.Spec.Registration = &v1alpha1.Registration{Description: about}
	o.Status.Conditions = []v1alpha1.Condition{{Type: selling.Ready, Status: "True"}}
	return o
}

func draining(o v1alpha1.ServiceOffer, end time.Time) v1alpha1.ServiceOffer {
	grace := "0s"
	o.Spec.DrainAt, o.Spec.DrainGracePeriod = &metav1.Time{Time: end}, &grace
	return o
}

func full(now time.Time) []v1alpha1.ServiceOffer {
	qwen := live("qwen", "A general model with long context. Good at code, translation and plain questions.")
	qwen.Spec.Type, qwen.Spec.Model = "inference", &v1alpha1.Model{Name: "qwen3:32b", Runtime: "ollama"}
	qwen.Spec.Payment.Price = v1alpha1.Price{PerMTok: "0.5"}
	qwen.Spec.Payments = []v1alpha1.Payment{qwen.Spec.Payment, qwen.Spec.Payment}
	qwen.Spec.Payments[1].Asset, qwen.Spec.Payments[1].Price = &v1alpha1.Asset{Symbol: "OBOL"}, v1alpha1.Price{PerRequest: "0.02"}
	qwen.Spec.Listing = &v1alpha1.Listing{Weight: 10}

	weather := live("weather", "Forecasts for any place, by the hour.")
	weather.Spec.Routes = []v1alpha1.Route{{Path: "/about", Gate: "free"}, {Path: "/v1/forecast", Methods: []v1alpha1.Method{"GET"}}}
	weather.Spec.Payment.Network, weather.Spec.Payment.Price = "base", v1alpha1.Price{PerRequest: "0.0004"}

	analyst := live("analyst", "Reads filings and answers with its sources.")
	analyst.Spec.Type = "agent"
	analyst.Status.AgentResolution = &v1alpha1.AgentResolution{Model: "qwen3:32b"}
	analyst.Spec.Registration.Enabled, analyst.Spec.Registration.Skills = true, []string{"research", "summaries"}
	analyst.Status.Conditions = nil
	for _, kind := range []string{selling.ModelReady, selling.UpstreamHealthy, selling.PaymentGateReady, selling.RoutePublished} {
		analyst.Status.Conditions = append(analyst.Status.Conditions, v1alpha1.Condition{Type: kind, Status: "True"})
	}

	status := live("status", "Whether the shop is open.")
	status.Spec.Routes = []v1alpha1.Route{{Path: "/*", Gate: "free"}}
	hello := live("hello", "Says hello. Made to try a first payment with.")
	hello.Spec.Listing = &v1alpha1.Listing{Category: "demo"}
	old := draining(live("maps", "Tiles of the whole world."), now.Add(3*time.Hour+time.Minute))
	return []v1alpha1.ServiceOffer{qwen, weather, analyst, status, hello, old}
}

func many(now time.Time) []v1alpha1.ServiceOffer {
	kinds := full(now)
	var out []v1alpha1.ServiceOffer
	for i := range 60 {
		o := kinds[i%len(kinds)]
		o.Name = fmt.Sprintf("%s-%02d", o.Name, i)
		out = append(out, o)
	}
	return out
}

// long has no place at which a line would break by itself.
func long() []v1alpha1.ServiceOffer {
	o := live(strings.Repeat("n", 63), strings.Repeat("Donaudampfschifffahrt", 12))
	o.Spec.Type, o.Spec.Model = "inference", &v1alpha1.Model{Name: strings.Repeat("m", 120), Runtime: "vllm"}
	o.Spec.Path = "/services/" + strings.Repeat("p", 200)
	o.Spec.Listing = &v1alpha1.Listing{Category: strings.Repeat("c", 80)}
	o.Spec.Payment.Price.PerRequest = "123456789012345678901234567890.123456"
	return []v1alpha1.ServiceOffer{o, live("short", "")}
}
