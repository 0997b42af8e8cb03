package controller

import (
	"errors"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// facts is what one look at an offer and around it found.
type facts struct {
	now      time.Time
	agent    string    // what the offer's agent lacks; empty: nothing, or it needs none
	upstream error     // of the probe; nil: it answered 2xx
	conflict *obstacle // an older offer has its hostname or path
	verifier string    // what the verifier lacks; empty: nothing
	grant    error     // of applying the ReferenceGrant
	route    error     // of applying the HTTPRoutes
}

const waitingForAgent = "WaitingForAgent"

// barred says why the offer has no place at the payment gate, whatever its
// upstream does; nil when it has one.
func barred(o *v1alpha1.ServiceOffer, f facts) *obstacle {
	switch {
	case f.agent != "":
		return &obstacle{waitingForAgent, f.agent}
	case reserved(o) != nil:
		return reserved(o)
	case f.conflict != nil:
		return f.conflict
	case selling.Drained(o, f.now):
		return &obstacle{"Drained", "the drain is over"}
	}
	return nil
}

// judge gives the conditions that follow from the facts, in the stack's order.
func judge(o *v1alpha1.ServiceOffer, f facts) []v1alpha1.Condition {
	model, upstream := modelReady(o, f), upstreamHealthy(f)
	gate := gateReady(o, f)
	route := routePublished(o, f, gate)
	registered := registered(o, route)
	return []v1alpha1.Condition{
		model, upstream, draining(o, f), gate, route, registered,
		ready(f, model, upstream, gate, route, registered),
	}
}

func modelReady(o *v1alpha1.ServiceOffer, f facts) v1alpha1.Condition {
	switch {
	case f.agent != "":
		return no(selling.ModelReady, waitingForAgent, f.agent)
	case o.Spec.Type != "inference":
		return yes(selling.ModelReady, "Skipped", "the offer sells no model")
	case o.Spec.Model == nil || o.Spec.Model.Name == "":
		return no(selling.ModelReady, "MissingModel", "spec.model.name is empty")
	}
	return yes(selling.ModelReady, "Declared", fmt.Sprintf("model %q is declared", o.Spec.Model.Name))
}

func upstreamHealthy(f facts) v1alpha1.Condition {
	switch {
	case f.agent != "":
		return no(selling.UpstreamHealthy, waitingForAgent, f.agent)
	case errors.Is(f.upstream, errNoService):
		return no(selling.UpstreamHealthy, "MissingService", f.upstream.Error())
	case f.upstream != nil:
		return no(selling.UpstreamHealthy, "Unhealthy", f.upstream.Error())
	}
	return yes(selling.UpstreamHealthy, "Healthy", "the upstream answers")
}

func draining(o *v1alpha1.ServiceOffer, f facts) v1alpha1.Condition {
	end, set := selling.DrainEnds(o)
	switch {
	case !set:
		return no(selling.Draining, "Active", "the offer is not draining")
	case selling.Drained(o, f.now):
		return no(selling.Draining, "Drained", "the drain ended at "+end.UTC().Format(time.RFC3339))
	}
	return yes(selling.Draining, "Draining", "the offer drains until "+end.UTC().Format(time.RFC3339))
}

func gateReady(o *v1alpha1.ServiceOffer, f facts) v1alpha1.Condition {
	switch why := barred(o, f); {
	case why != nil:
		return no(selling.PaymentGateReady, why.reason, why.message)
	case f.upstream != nil:
		return no(selling.PaymentGateReady, "WaitingForUpstream", "the upstream is not healthy")
	case f.verifier != "":
		return no(selling.PaymentGateReady, "WaitingForGateway", f.verifier)
	case f.grant != nil:
		return no(selling.PaymentGateReady, "ApplyFailed", f.grant.Error())
	}
	return yes(selling.PaymentGateReady, "Reconciled", "the verifier charges for the offer")
}

func routePublished(o *v1alpha1.ServiceOffer, f facts, gate v1alpha1.Condition) v1alpha1.Condition {
	switch why := barred(o, f); {
	case why != nil:
		return no(selling.RoutePublished, why.reason, why.message)
	case !isTrue(gate):
		return no(selling.RoutePublished, "WaitingForPaymentGate", "the payment gate is not ready")
	case f.route != nil:
		return no(selling.RoutePublished, "ApplyFailed", f.route.Error())
	}
	return yes(selling.RoutePublished, "Reconciled", "published at "+selling.Path(o))
}

// registered never says that an offer is: nothing here sends transactions.
func registered(o *v1alpha1.ServiceOffer, route v1alpha1.Condition) v1alpha1.Condition {
	switch {
	case !registers(o):
		return yes(selling.Registered, "Disabled", "the offer wants no registration")
	case !isTrue(route):
		return no(selling.Registered, "WaitingForRoute", "the route is not published")
	}
	return no(selling.Registered, "AwaitingExternalRegistration", `run "obol sell register"`)
}

func registers(o *v1alpha1.ServiceOffer) bool {
	return o.Spec.Registration != nil && o.Spec.Registration.Enabled
}

func ready(f facts, needed ...v1alpha1.Condition) v1alpha1.Condition {
	if f.agent != "" {
		return no(selling.Ready, waitingForAgent, f.agent)
	}
	var missing []string
	for _, c := range needed {
		if !isTrue(c) {
			missing = append(missing, c.Type)
		}
	}
	if missing != nil {
		return no(selling.Ready, "Reconciling", "waiting for "+strings.Join(missing, ", "))
	}
	return yes(selling.Ready, "Reconciled", "the offer is ready")
}

func yes(kind, reason, message string) v1alpha1.Condition {
	return v1alpha1.Condition{Type: kind, Status: "True", Reason: reason, Message: message}
}

func no(kind, reason, message string) v1alpha1.Condition {
	return v1alpha1.Condition{Type: kind, Status: "False", Reason: reason, Message: message}
}

func isTrue(c v1alpha1.Condition) bool { return c.Status == "True" }

// dated gives each condition the time since which its status holds: that of
// before, or now.
func dated(conditions, before []v1alpha1.Condition, now time.Time) []v1alpha1.Condition {
	for i := range conditions {
		c := &conditions[i]
		c.LastTransitionTime = &metav1.Time{Time: now.Truncate(time.Second)} // as precise as JSON keeps it
		for _, was := range before {
			if was.Type == c.Type && was.Status == c.Status && was.LastTransitionTime != nil {
				c.LastTransitionTime = was.LastTransitionTime
			}
		}
	}
	return conditions
}

// How long until the next look, when no event comes first.
const (
	unready    = 5 * time.Second
	conflicted = 30 * time.Second
	pastDrain  = time.Second // after the end
)

// again is when to look at an offer again; 0 waits for an event. ready is its
// condition, and reprobe wants Ready ones looked at too.
func again(o *v1alpha1.ServiceOffer, f facts, ready, reprobe bool) time.Duration {
	var wait time.Duration
	switch {
	case f.conflict != nil:
		wait = conflicted
	case !ready || reprobe:
		wait = unready
	}
	end, set := selling.DrainEnds(o)
	if left := end.Sub(f.now); set && left > 0 && (wait == 0 || left+pastDrain < wait) {
		wait = left + pastDrain
	}
	return wait
}
