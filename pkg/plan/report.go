package plan

import (
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Report is how every offer of a site stands.
type Report struct {
	Site         string
	Cluster      resource.ClusterSighting
	Accepted     *Accepted // nil: nothing accepted here
	Undeclared   string    // why an offers file that is there does not tell what should be; empty: it does, or is not needed
	LastBoot     time.Time // zero when unknown
	LastConverge Run       // zero when there was none
	Offers       []OfferStatus
	Decisions    []Change // withheld or blocked changes of an unattended run; none where nothing was accepted
}

// A Run is how one run of converge ended.
type Run struct {
	At   time.Time
	Exit int

	// Facts are what failed or waits for a person, a line each. One that the run
	// before did not have is news.
	Facts []string

	Untold []string // of the facts, those that nobody could be told of
}

// An OfferStatus is how one offer stands. Tombstones are offers that are not
// declared.
type OfferStatus struct {
	Key        offer.Key
	Address    offer.Address
	Offer      *offer.Offer // as accepted, else as declared; nil for a tombstone
	Declared   bool
	Accepted   bool
	Live       resource.Presence // of its ServiceOffer; of its gateway when standalone
	Ready      *bool             // nil: unknown, or there is no such condition
	Sellable   *bool
	Conditions []Condition
	Drain      *offer.Drain // ends when what is live does, where that is sooner than was said
	Loose      bool         // it is live, and Drain does not hold it
	Tombstone  *offer.Tombstone
	Gateway    *resource.Running // nil: it needs none, or nothing is known
	Upstream   *UpstreamStatus   // nil: it has a gateway, there is no offer, or what is made beside it is not up yet
	Drift      []Drift
	Restore    Cause // of what converge would make or start again; empty: nothing is lost

	Unregistered bool   // it asks for a registration that it does not have
	Stranded     string // why the wallet that buyers pay is not its agent's; empty: it is, or need not be, or nobody can buy
}

// An UpstreamStatus is how the Service stands that answers for an offer.
type UpstreamStatus struct {
	Namespace, Name string            // of the Service
	Ready           resource.Presence // of an endpoint
	Why             string            // when not Present, for people
	Since           time.Time         // when Absent: when its endpoints were last written; zero: nobody can tell
}

// gone reports whether nothing is known to be behind a Service.
func (u *UpstreamStatus) gone() bool { return u != nil && u.Ready == resource.Absent }

// Down reports whether nothing is known to answer for an offer, behind its Service
// or behind its gateway: the controller may not have seen it yet.
func (o OfferStatus) Down() bool {
	g := o.Gateway
	return o.Upstream.gone() || g != nil && g.Answering && !g.Healthy
}

// GatewayDown reports whether the offer's gateway is known not to answer.
func (o OfferStatus) GatewayDown() bool { return o.Gateway != nil && !o.Gateway.Answering }

// OnOtherTerms reports whether buyers are known to be asked for something else than
// was accepted.
func (o OfferStatus) OnOtherTerms() bool {
	return slices.ContainsFunc(o.Drift, func(d Drift) bool { return d.Class == Money })
}

// A Condition is one of a ServiceOffer's status.
type Condition struct {
	Type    string    `json:"type"`
	Status  string    `json:"status"` // True, False or Unknown
	Reason  string    `json:"reason,omitempty"`
	Message string    `json:"message,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// A Drift is a difference between what was accepted, its After, and what is live.
type Drift struct {
	resource.Difference
	Class Class
}
