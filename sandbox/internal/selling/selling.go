// Package selling says what a live ServiceOffer sells, in the words of
// pkg/offer. It reads no clock and asks nobody.
package selling

import (
	"cmp"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// The types of an offer's conditions, in the order in which they come about.
const (
	ModelReady       = "ModelReady"
	UpstreamHealthy  = "UpstreamHealthy"
	Draining         = "Draining"
	PaymentGateReady = "PaymentGateReady"
	RoutePublished   = "RoutePublished"
	Registered       = "Registered"
	Ready            = "Ready"
)

// AgentService is the Service of an agent, in the namespace that is the agent's
// own.
const AgentService = "hermes"

// Condition finds a condition; nil when the offer has none of that type. It
// points into o.
func Condition(o *v1alpha1.ServiceOffer, kind string) *v1alpha1.Condition {
	for i := range o.Status.Conditions {
		if c := &o.Status.Conditions[i]; c.Type == kind {
			return c
		}
	}
	return nil
}

// Sellable is the test by which the catalog lists an offer: it is Ready, or all
// of it is there but for the registration.
func Sellable(o *v1alpha1.ServiceOffer) bool {
	if holds(o, Ready) {
		return true
	}
	for _, kind := range []string{ModelReady, UpstreamHealthy, PaymentGateReady, RoutePublished} {
		if !holds(o, kind) {
			return false
		}
	}
	return true
}

func holds(o *v1alpha1.ServiceOffer, kind string) bool {
	c := Condition(o, kind)
	return c != nil && c.Status == "True"
}

// defaultGrace is how long the route of a draining offer stays when it does not
// say.
const defaultGrace = time.Hour

// DrainEnds is when a draining offer stops; false for one that does not drain.
// An offer drains from the moment that drainAt is set, even to a time to come.
func DrainEnds(o *v1alpha1.ServiceOffer) (end time.Time, draining bool) {
	if o.Spec.DrainAt == nil {
		return time.Time{}, false
	}
	grace := defaultGrace
	if said := o.Spec.DrainGracePeriod; said != nil {
		if d, err := time.ParseDuration(*said); err == nil {
			grace = max(0, d)
		}
	}
	return o.Spec.DrainAt.Add(grace), true
}

// Drained reports whether the offer's drain is over.
func Drained(o *v1alpha1.ServiceOffer, now time.Time) bool {
	end, draining := DrainEnds(o)
	return draining && !now.Before(end)
}

// Older orders offers as those go that want the same path or host: the one that
// was created first, and of the same second the one whose namespace/name sorts
// first.
func Older(a, b *v1alpha1.ServiceOffer) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace+"/"+a.Name, b.Namespace+"/"+b.Name))
}

// Path is the offer's effective path, without a slash at its end.
func Path(o *v1alpha1.ServiceOffer) string {
	if o.Spec.Path == "" {
		return "/services/" + o.Name
	}
	return strings.TrimRight(o.Spec.Path, "/")
}

// Hostname is the offer's own host in lower case; empty without one.
func Hostname(o *v1alpha1.ServiceOffer) string { return strings.ToLower(o.Spec.Hostname) }

// URL is where buyers reach the offer, without a slash at its end. base is
// where they reach the cluster.
func URL(o *v1alpha1.ServiceOffer, base string) string {
	if host := Hostname(o); host != "" {
		return "https://" + host
	}
	return strings.TrimRight(base, "/") + Path(o)
}

// Model is the model that the offer, or its agent, answers with; empty when it
// sells none.
func Model(o *v1alpha1.ServiceOffer) string {
	switch {
	case o.Spec.Model != nil:
		return o.Spec.Model.Name
	case o.Spec.Type == "agent" && o.Status.AgentResolution != nil:
		return o.Status.AgentResolution.Model
	}
	return ""
}

// Registration is what the offer says about itself; nil when it says nothing.
func Registration(o *v1alpha1.ServiceOffer) *offer.Registration {
	r := o.Spec.Registration
	if r == nil {
		return nil
	}
	out := &offer.Registration{
		Enabled: r.Enabled, Name: r.Name, Description: r.Description, Image: r.Image,
		Skills: r.Skills, Domains: r.Domains, SupportedTrust: r.SupportedTrust, Metadata: r.Metadata,
	}
	for _, s := range r.Services {
		out.Services = append(out.Services, offer.RegistrationService(s))
	}
	return out
}
