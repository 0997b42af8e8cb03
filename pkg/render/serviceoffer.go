package render

import (
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// serviceOffer is what the stack's controller reads. Fields that the offer does
// not say are left out, so that they stay the stack's own.
func (r *renderer) serviceOffer() resource.Spec {
	o := r.offer
	spec := map[string]any{"type": liveType(o), "payment": payment(o.Payments[0])}
	if len(o.Payments) > 1 {
		spec["payments"] = list(o.Payments, func(p offer.Payment) any { return payment(p) })
	}
	if o.AgentRef.Name != "" {
		spec["agent"] = map[string]any{"ref": map[string]any{"name": o.AgentRef.Name, "namespace": o.Namespace}}
	} else {
		spec["upstream"] = upstream(o)
	}
	if len(o.Routes) > 0 {
		spec["routes"] = list(o.Routes, route)
	}
	put(spec, "path", o.Path)
	put(spec, "hostname", o.Hostname)
	putMap(spec, "model", fields("name", o.Model.Name, "runtime", o.Model.Runtime))
	putMap(spec, "limits", limits(o.Limits))
	putMap(spec, "listing", listing(o))
	putMap(spec, "provenance", stringMap(o.Provenance))
	if o.Async != nil {
		async := fields("resultVisibility", o.Async.ResultVisibility, "ttl", o.Async.TTL)
		async["enabled"] = o.Async.Enabled
		spec["async"] = async
	}
	if o.Branding != nil {
		putMap(spec, "branding", branding(*o.Branding))
	}
	if reg := o.Registration; reg != nil {
		spec["registration"] = registration(*reg)
	} else if isDemoServer(o) {
		spec["registration"] = map[string]any{"enabled": false}
	}
	return r.object("obol.org/v1alpha1", resource.ServiceOffer, map[string]any{}, map[string]any{"spec": spec})
}

// liveType is the type of the offer's object: a demo is sold as what is behind
// it.
func liveType(o *offer.Offer) string {
	switch {
	case o.AgentRef.Name != "":
		return string(offer.Agent)
	case o.Type == offer.Demo:
		return string(offer.HTTP)
	}
	return string(o.Type)
}

// upstream is the Service that the verifier asks. Behind a gateway's Service is
// the gateway, which answers for its upstream's health.
func upstream(o *offer.Offer) map[string]any {
	service, namespace, port, health := o.Name, o.Namespace, demoPort, gatewayHealth
	switch {
	case o.HasGateway():
		port = o.Gateway.Port
	case !isDemoServer(o):
		service, namespace, port, health = o.Upstream.Service, o.Upstream.Namespace, o.Upstream.Port, healthPath(o)
	}
	return map[string]any{"service": service, "namespace": namespace, "port": float64(port), "healthPath": health}
}

func payment(p offer.Payment) map[string]any {
	m := fields("scheme", p.Scheme, "network", p.Network, "payTo", p.PayTo)
	m["price"] = price(p.Price)
	if seconds := p.MaxTimeout / time.Second; seconds != 0 {
		m["maxTimeoutSeconds"] = float64(seconds)
	}
	if p.TokenGiven {
		asset := fields("address", p.Token.Address, "symbol", p.Token.Symbol, "transferMethod", p.Token.TransferMethod,
			"eip712Name", p.Token.EIP712Name, "eip712Version", p.Token.EIP712Version)
		asset["decimals"] = float64(p.Token.Decimals)
		m["asset"] = asset
	}
	return m
}

// price fills the one slot of a price table. A price without a unit fills none.
func price(p offer.Price) map[string]any {
	switch p.Unit {
	case offer.PerRequest:
		return map[string]any{"perRequest": p.Amount}
	case offer.PerMTok:
		return map[string]any{"perMTok": p.Amount}
	case offer.PerHour:
		return map[string]any{"perHour": p.Amount}
	case offer.PerEpoch:
		return map[string]any{"perEpoch": p.Amount}
	}
	return map[string]any{}
}

func route(r offer.Route) any {
	m := fields("path", r.Path, "gate", r.Gate, "summary", r.Summary)
	if len(r.Methods) > 0 {
		m["methods"] = list(r.Methods, text)
	}
	if r.Price != nil {
		m["price"] = price(*r.Price)
	}
	putNumber(m, "freeQuota", r.FreeQuota)
	return m
}

func limits(l offer.Limits) map[string]any {
	m := map[string]any{}
	putNumber(m, "maxInFlight", l.MaxInFlight)
	putNumber(m, "rps", l.RPS)
	return m
}

func listing(o *offer.Offer) map[string]any {
	m := fields("category", o.Listing.Category)
	if isDemoServer(o) && o.Listing.Category == "" {
		m["category"] = "demo"
	}
	putNumber(m, "weight", o.Listing.Weight)
	return m
}

func branding(b offer.Branding) map[string]any {
	return fields("displayName", b.DisplayName, "tagline", b.Tagline, "logoUrl", b.LogoURL, "theme", b.Theme,
		"accentColor", b.AccentColor, "faviconUrl", b.FaviconURL, "ogImageUrl", b.OGImageURL, "description", b.Description)
}

func registration(r offer.Registration) map[string]any {
	m := fields("name", r.Name, "description", r.Description, "image", r.Image)
	m["enabled"] = r.Enabled
	for key, values := range map[string][]string{"skills": r.Skills, "domains": r.Domains, "supportedTrust": r.SupportedTrust} {
		if len(values) > 0 {
			m[key] = list(values, text)
		}
	}
	putMap(m, "metadata", stringMap(r.Metadata))
	if len(r.Services) > 0 {
		m["services"] = list(r.Services, func(s offer.RegistrationService) any {
			return fields("name", s.Name, "endpoint", s.Endpoint, "version", s.Version)
		})
	}
	return m
}

// fields makes a map of pairs of keys and values, without the empty ones.
func fields(pairs ...string) map[string]any {
	m := make(map[string]any, len(pairs)/2+2)
	for i := 0; i < len(pairs); i += 2 {
		put(m, pairs[i], pairs[i+1])
	}
	return m
}

func put(m map[string]any, key, value string) {
	if value != "" {
		m[key] = value
	}
}

// putNumber holds a number as encoding/json decodes it, so that a spec is the
// same after a round trip through a file.
func putNumber(m map[string]any, key string, value int64) {
	if value != 0 {
		m[key] = float64(value)
	}
}

func putMap(m map[string]any, key string, value map[string]any) {
	if len(value) > 0 {
		m[key] = value
	}
}

func stringMap(from map[string]string) map[string]any {
	m := make(map[string]any, len(from))
	for k, v := range from {
		m[k] = v
	}
	return m
}

func list[T any](from []T, each func(T) any) []any {
	out := make([]any, len(from))
	for i, v := range from {
		out[i] = each(v)
	}
	return out
}

func text(s string) any { return s }
