// Package offer holds the seller's words and their rules: offer, price,
// payment, networks and tokens, drain, tombstone. It does no I/O, reads no
// clock, and imports nothing but the standard library and Keccak-256.
package offer

import (
	"cmp"
	"strings"
	"time"
)

// A Type is the kind of service that an offer sells.
type Type string

// The types of offers. A demo is declared as one and becomes an http or an
// agent offer in the cluster.
const (
	Inference Type = "inference"
	HTTP      Type = "http"
	Agent     Type = "agent"
	Demo      Type = "demo"
)

// A Key is what an offer is: two offers with equal keys are the same offer,
// whatever their addresses. Re-addressing never re-creates.
type Key struct {
	Type      Type   `json:"type"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// Compare orders keys by namespace, name and type.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name), cmp.Compare(k.Type, other.Type))
}

// SameName reports whether two keys share namespace and name, and with them one
// object in the cluster, whatever their types.
func (k Key) SameName(other Key) bool { return k.compareName(other) == 0 }

func (k Key) compareName(other Key) int {
	return cmp.Or(cmp.Compare(k.Namespace, other.Namespace), cmp.Compare(k.Name, other.Name))
}

// String gives the form that messages use when there is no address:
// "http apps/weather".
func (k Key) String() string {
	return strings.TrimPrefix(string(k.Type)+" ", " ") + k.Namespace + "/" + k.Name
}

// A Source is the place in an offers file that something was declared. It is
// kept through plan and apply so that every later message can point at it.
type Source struct {
	File string `json:"file,omitempty"` // as the user named it
	Line int    `json:"line,omitempty"` // 1-based; 0 when there is no place to point at
}

// An Offer is one paid service, with every default filled in: what an offers
// file declares, and what is remembered once it was accepted.
type Offer struct {
	Address      Address           `json:"address"`
	Type         Type              `json:"type"`
	Namespace    string            `json:"namespace"`
	Name         string            `json:"name"` // DNS label
	Path         string            `json:"path,omitempty"`
	Hostname     string            `json:"hostname,omitempty"`
	Standalone   bool              `json:"standalone,omitempty"` // no cluster objects: its gateway charges
	Payments     []Payment         `json:"payments"`             // the first is the primary; never empty
	Routes       []Route           `json:"routes,omitempty"`     // empty: all is paid
	Upstream     Upstream          `json:"upstream,omitzero"`
	Model        Model             `json:"model,omitzero"`   // inference
	AgentRef     AgentRef          `json:"agent,omitzero"`   // agent, and demo quant
	Demo         DemoRef           `json:"demo,omitzero"`    // demo
	Gateway      Gateway           `json:"gateway,omitzero"` // when HasGateway
	Limits       Limits            `json:"limits,omitzero"`
	Async        *Async            `json:"async,omitempty"`
	Listing      Listing           `json:"listing,omitzero"`
	Branding     *Branding         `json:"branding,omitempty"`
	Registration *Registration     `json:"registration,omitempty"`
	Provenance   map[string]string `json:"provenance,omitempty"`
	Overlay      string            `json:"overlay,omitempty"` // folder of a kustomization; cleaned, relative to the file's folder or absolute
	Drain        *DrainDecl        `json:"drain,omitempty"`   // present: stop selling
	Lifecycle    Lifecycle         `json:"lifecycle,omitzero"`
	At           Source            `json:"at,omitzero"`
}

// Key gives what identifies the offer.
func (o Offer) Key() Key { return Key{o.Type, o.Namespace, o.Name} }

// HasGateway reports whether a gateway on this host serves the offer:
// inference, http with a URL, and standalone offers.
func (o Offer) HasGateway() bool { return o.Upstream.URL != "" }

// InCluster reports whether the offer has cluster objects.
func (o Offer) InCluster() bool { return !o.Standalone }

// PublicURL is where buyers reach the offer; empty when that is not known.
// cluster is where they reach the cluster; empty: unknown.
func (o Offer) PublicURL(cluster string) string {
	switch {
	case o.Standalone: // its gateway has all paths
		return o.Gateway.PublicURL
	case o.Hostname != "":
		return "https://" + o.Hostname
	case cluster == "":
		return ""
	}
	return strings.TrimRight(cluster, "/") + o.Path
}

// An Upstream is what answers once a request is paid: a Service of the cluster
// (Service is set) or something on this host (URL is set), never both.
type Upstream struct {
	Service    string            `json:"service,omitempty"`
	Namespace  string            `json:"namespace,omitempty"` // of Service; never empty when Service is set
	Port       int               `json:"port,omitempty"`      // of Service, 1 to 65535
	URL        string            `json:"url,omitempty"`       // http or https, without query and fragment
	HealthPath string            `json:"health_path,omitempty"`
	Headers    map[string]Secret `json:"headers,omitempty"` // sent to URL with every request
}

// A Secret is a reference to a value that only the gateway reads, or a plain
// value that is no secret. Exactly one field is set.
type Secret struct {
	File  string `json:"file,omitempty"`  // path as written, may start with ~/
	Env   string `json:"env,omitempty"`   // variable of the gateway's environment
	Plain string `json:"plain,omitempty"` // written literally in the offers file
}

// A Model is what an inference offer sells.
type Model struct {
	Name    string `json:"name,omitempty"`
	Runtime string `json:"runtime,omitempty"` // ollama, vllm or tgi
}

// An AgentRef names the Agent that an offer sells. The Agent itself is never
// created or changed.
type AgentRef struct {
	Name     string `json:"name,omitempty"` // lives in namespace "agent-" + Name
	OwnPayTo bool   `json:"own_pay_to,omitempty"`
	// OwnPayTo is set when pay_to is "agent": the primary payment's PayTo is
	// then the agent's wallet: Wallet when pinned, else filled in from the
	// cluster at apply and pinned by being accepted.

	Wallet string `json:"wallet,omitempty"` // agent_wallet of the file: pins it in git
}

// DemoImage is what the stack's hello and blocks demos run.
const DemoImage = "ghcr.io/obolnetwork/demo-server:latest"

// A DemoRef is the scenario behind a demo offer.
type DemoRef struct {
	Scenario string `json:"scenario,omitempty"` // hello, blocks or quant
	Image    string `json:"image,omitempty"`    // empty for quant
}

// A Gateway is how the host's gateway of an offer listens and behaves.
type Gateway struct {
	Address       string        `json:"address,omitempty"`    // IP to listen on; empty: 127.0.0.1 when standalone, else loopback and the address at which pods reach this host
	Port          int           `json:"port,omitempty"`       // 0 until assigned
	Declared      bool          `json:"declared,omitempty"`   // the file names the port
	PublicURL     string        `json:"public_url,omitempty"` // standalone only
	Settle        string        `json:"settle,omitempty"`     // before, after, or empty for the default by content type
	MaxBody       int64         `json:"max_body,omitempty"`   // bytes; 0: no limit
	MaxConcurrent int           `json:"max_concurrent,omitempty"`
	Timeout       time.Duration `json:"timeout,omitempty"` // for the upstream's first byte; 0: none
}

// Limits cap the traffic of an offer; zero means no cap.
type Limits struct {
	MaxInFlight int64 `json:"max_in_flight,omitempty"`
	RPS         int64 `json:"rps,omitempty"` // requests per second
}

// Async is how paid calls go through the job broker.
type Async struct {
	Enabled          bool   `json:"enabled"`
	ResultVisibility string `json:"result_visibility,omitempty"` // payer or public
	TTL              string `json:"ttl,omitempty"`               // duration, as written
}

// A Listing places an offer on the storefront; higher weights come first.
type Listing struct {
	Weight   int64  `json:"weight,omitempty"`
	Category string `json:"category,omitempty"`
}

// Branding dresses an offer that has a hostname of its own.
type Branding struct {
	DisplayName string `json:"display_name,omitempty"`
	Tagline     string `json:"tagline,omitempty"`
	LogoURL     string `json:"logo_url,omitempty"`
	Theme       string `json:"theme,omitempty"` // light, dark or obol
	AccentColor string `json:"accent_color,omitempty"`
	FaviconURL  string `json:"favicon_url,omitempty"`
	OGImageURL  string `json:"og_image_url,omitempty"`
	Description string `json:"description,omitempty"`
}

// A Registration is the ERC-8004 block of an offer. obolctl never sends a
// transaction.
type Registration struct {
	Enabled        bool                  `json:"enabled"`
	Name           string                `json:"name,omitempty"`
	Description    string                `json:"description,omitempty"`
	Image          string                `json:"image,omitempty"`
	Skills         []string              `json:"skills,omitempty"`
	Domains        []string              `json:"domains,omitempty"`
	SupportedTrust []string              `json:"supported_trust,omitempty"`
	Metadata       map[string]string     `json:"metadata,omitempty"`
	Services       []RegistrationService `json:"services,omitempty"`
}

// A RegistrationService is one more service entry of a registration.
type RegistrationService struct {
	Name     string `json:"name"`
	Endpoint string `json:"endpoint"`
	Version  string `json:"version,omitempty"`
}

// A Route is a part of an offer's path with terms of its own.
type Route struct {
	Path      string   `json:"path"` // relative to the offer's path: exact, /x/*, or segment globs
	Methods   []string `json:"methods,omitempty"`
	Gate      string   `json:"gate"`            // paid, free or auth
	Price     *Price   `json:"price,omitempty"` // paid only; nil: the offer's
	FreeQuota int64    `json:"free_quota,omitempty"`
	Summary   string   `json:"summary,omitempty"`
}

// A Lifecycle is what may happen to an offer beyond the usual.
type Lifecycle struct {
	PreventDelete bool     `json:"prevent_delete,omitempty"`
	IgnoreChanges []string `json:"ignore_changes,omitempty"` // field paths, such as spec.listing.weight
	OnLiveDelete  string   `json:"on_live_delete,omitempty"` // ask (or empty) or restore
	Accept        []string `json:"accept,omitempty"`         // rules that are only warned of: model_slash
}
