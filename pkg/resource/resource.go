// Package resource says what a thing is called, should be, and was seen to be:
// ID, Spec, Sighting. Things are objects in a cluster and gateways on a host.
// It is pure data.
package resource

import (
	"cmp"
	"errors"
	"strconv"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
)

var (
	// ErrNotOurs means that a resource lacks our mark.
	ErrNotOurs = errors.New("not managed by this site")

	// ErrMoved means that a resource is no longer what was looked at: another
	// UID, resource version or instance. Looking again tells more.
	ErrMoved = errors.New("changed since it was looked at")

	// ErrFinal means that trying the same again cannot succeed.
	ErrFinal = errors.New("refused")
)

// A Home is where a resource lives.
type Home uint8

// There is no zero Home: an ID that was never filled in has none.
const (
	Cluster Home = iota + 1
	Host
)

// The kinds that obolctl makes.
const (
	Namespace     = "Namespace"
	Deployment    = "Deployment"
	Service       = "Service"
	EndpointSlice = "EndpointSlice"
	GatewayKind   = "Gateway"
	ServiceOffer  = "ServiceOffer"
)

// Upstream is the kind of what is never made, and only looked at: a Service of
// the cluster as what answers for an offer. It is Present while one of its
// endpoints is ready.
const Upstream = "Upstream"

// UpstreamID names a Service of the cluster at one of its ports; 0: at any.
func UpstreamID(namespace, service string, port int) ID {
	id := ID{Kind: Upstream, Namespace: namespace, Name: service}
	if port != 0 {
		id.Name += ":" + strconv.Itoa(port)
	}
	return id
}

// Service gives the Service of an upstream, and its port; 0: any.
func (id ID) Service() (service string, port int) {
	service, number, _ := strings.Cut(id.Name, ":")
	port, _ = strconv.Atoi(number) // none is 0
	return service, port
}

// Our marks on objects. SiteLabel is a label; the others are annotations.
const (
	SiteLabel         = "offers.obolctl.io/site"
	AddressAnnotation = "offers.obolctl.io/address"
	HolderAnnotation  = "offers.obolctl.io/holder"
	FieldManager      = "obolctl"
)

// TouchedAnnotation is when a ServiceOffer was last touched, in RFC 3339 with
// nanoseconds, so that its controller looks at it again. TouchManager writes it:
// another one than FieldManager, so that our applies neither own nor remove it.
const (
	TouchedAnnotation = "offers.obolctl.io/touched"
	TouchManager      = "obolctl-touch"
)

// An ID names one resource for good. Two resources with equal IDs are the same
// resource, at whatever time and by whoever they were written down.
type ID struct {
	Kind      string
	Namespace string // empty for a Namespace
	Name      string
}

// Home is where the resource lives: gateways on the host, all else in the
// cluster.
func (id ID) Home() Home {
	if id.Kind == GatewayKind {
		return Host
	}
	return Cluster
}

// String gives the form that plans, logs and errors use:
// "ServiceOffer/llm/qwen", "Namespace/llm".
func (id ID) String() string {
	if id.Namespace == "" {
		return id.Kind + "/" + id.Name
	}
	return id.Kind + "/" + id.Namespace + "/" + id.Name
}

// ranks orders the kinds as things come about: what others need comes first.
var ranks = map[string]int{Namespace: 1, Deployment: 2, Service: 3, EndpointSlice: 4, GatewayKind: 5, ServiceOffer: 6}

// Compare orders IDs by kind, as things come about, then by namespace and name.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(ranks[id.Kind], ranks[other.Kind]), cmp.Compare(id.Kind, other.Kind),
		cmp.Compare(id.Namespace, other.Namespace), cmp.Compare(id.Name, other.Name))
}

// A Spec is what one resource of an offer should be. Exactly one of Object and
// Gateway is set, as the kind says.
type Spec struct {
	ID      ID             `json:"id"`
	Offer   offer.Key      `json:"offer"`
	Object  map[string]any `json:"object,omitempty"`  // what to apply: JSON values as encoding/json decodes them, without status
	Gateway *Gateway       `json:"gateway,omitempty"` // what to run
	Needs   []ID           `json:"needs,omitempty"`   // must be there first; sorted
	At      offer.Source   `json:"at,omitzero"`       // the declaration this came from

	// OnHost is set where the address at which pods reach this host belongs:
	// in an EndpointSlice, and among a gateway's listeners. That address is
	// observed, never accepted, so it is filled in by Located.
	OnHost bool `json:"on_host,omitempty"`
}

// Terms are the conditions of one write. The zero value creates, and fails
// when the resource is there already.
type Terms struct {
	UID             string // of the object, or the instance id of the gateway, that was looked at
	ResourceVersion string // of the object that was looked at

	// Take lists the paths of fields to take over from other managers; nothing
	// else is forced. Leave lists the paths of fields to leave as they are.
	// Paths are as in a [Difference].
	Take, Leave []string

	// Clear lists paths to set to null, which is how a drain ends. Nothing else
	// is written then.
	Clear []string

	// Restart asks for a new process even when a reload would do.
	Restart bool

	// Unmark asks Put to take our label and annotations off, and to change
	// nothing else.
	Unmark bool
}
