package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
)

// GatewaySchema is the version of gateway configurations that this build
// writes and the newest that it reads.
const GatewaySchema = 1

// A Gateway is the configuration of one gateway: what render makes, proc
// writes to a file, and the gateway reads.
type Gateway struct {
	Schema     int                     `json:"schema_version"`
	Offer      offer.Key               `json:"offer"`
	Address    offer.Address           `json:"address"`
	Site       string                  `json:"site"`
	Holder     string                  `json:"holder,omitempty"`
	Standalone bool                    `json:"standalone,omitempty"` // it charges itself, and is default-deny
	Listen     []netip.AddrPort        `json:"listen"`               // without the host's address for pods
	Pods       netip.AddrPort          `json:"pods,omitzero"`        // the host's address for pods; zero until located, bound with IP_FREEBIND
	Peers      []netip.Prefix          `json:"peers,omitempty"`      // besides loopback, who may ask; empty and not standalone: nobody else
	Names      []string                `json:"names,omitempty"`      // Host values under which the cluster asks: <svc>.<ns>.svc…
	Prefix     string                  `json:"prefix,omitempty"`     // public path, taken off before the upstream sees it
	Upstream   string                  `json:"upstream"`             // URL
	HealthPath string                  `json:"health_path"`
	Headers    map[string]offer.Secret `json:"headers,omitempty"`
	Payments   []offer.Payment         `json:"payments,omitempty"` // standalone: what it quotes
	Routes     []offer.Route           `json:"routes,omitempty"`
	PublicURL  string                  `json:"public_url,omitempty"` // standalone: without a slash at its end
	Model      string                  `json:"model,omitempty"`      // standalone inference

	Registration *offer.Registration `json:"registration,omitempty"` // standalone: what buyers are told of it
	Settle       string              `json:"settle,omitempty"`
	MaxBody      int64               `json:"max_body,omitempty"`       // bytes; 0: no limit
	InFlight     int                 `json:"max_concurrent,omitempty"` // 0: no limit
	Timeout      string              `json:"timeout,omitempty"`        // for the upstream's first byte, as time.ParseDuration reads it; empty: none

	// DrainAt and DrainEnds tell a standalone gateway when it began to stop
	// selling, and when it is done; zero when it sells.
	DrainAt   time.Time `json:"drain_at,omitzero"`
	DrainEnds time.Time `json:"drain_ends,omitzero"`
}

// Digest identifies the configuration: equal digests mean that nothing is to be
// reloaded. It is the hex SHA-256 of its JSON form.
func (g Gateway) Digest() string { return digest(g) }

// digest hashes the JSON form of v, in which map keys are sorted.
func digest(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic("resource: cannot marshal: " + err.Error()) // only JSON values get here
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// Digest identifies what the spec means, before it is located: declaration
// lines do not count.
func (s Spec) Digest() string {
	if s.Gateway != nil {
		return s.Gateway.Digest()
	}
	return digest(s.Object)
}

// A Place is what the cluster says of how pods reach this host. The zero Place
// is unknown.
type Place struct {
	Host  netip.Addr
	Peers []netip.Prefix
}

// Located fills in the host's address and the peers where they belong, and
// returns s itself where they do not. The result shares nothing with s that it
// changes.
func (s Spec) Located(p Place) Spec {
	if !s.OnHost || !p.Host.IsValid() {
		return s
	}
	if s.Gateway != nil {
		g := *s.Gateway
		g.Pods = netip.AddrPortFrom(p.Host.Unmap(), g.Listen[0].Port())
		g.Peers = p.Peers
		s.Gateway = &g
		return s
	}
	obj := make(map[string]any, len(s.Object)+1)
	for k, v := range s.Object {
		obj[k] = v
	}
	obj["addressType"] = "IPv4"
	if p.Host.Is6() && !p.Host.Is4In6() {
		obj["addressType"] = "IPv6"
	}
	obj["endpoints"] = []any{map[string]any{
		"addresses":  []any{p.Host.Unmap().String()},
		"conditions": map[string]any{"ready": true},
	}}
	s.Object = obj
	return s
}
