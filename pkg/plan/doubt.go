package plan

import (
	"fmt"
	"slices"
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// A Doubt is a reason why the controller should look again at a live offer: it
// looks at one that is Ready only when something touches it.
type Doubt struct {
	ID      resource.ID // the ServiceOffer
	Key     offer.Key
	Address offer.Address
	Why     string // for people
}

// touchPause is how long it takes until an offer is touched again whose gateway
// died when nobody saw it, or whose Service went.
const touchPause = time.Minute

// Doubts names the offers that should be touched: they sell, and the health of
// their gateway is not what condition UpstreamHealthy says, or nothing came to
// it through the cluster since it started or its address there changed, or
// nothing is behind the Service that answers for them though it says so. An
// offer that was touched since is not named again before something changes.
// Without a controller there is nobody to look, and no doubt.
func Doubts(in Input) []Doubt {
	if in.World.Cluster.Controller != resource.Present {
		return nil
	}
	p := newPlanner(in)
	if p.otherCluster {
		return nil
	}
	var out []Doubt
	for _, s := range subjects(in) {
		if !p.sells(s) {
			continue
		}
		id := s.id(resource.ServiceOffer)
		why, since := p.doubt(s)
		if why == "" || !touched(in.World.Seen[id].Object).Before(since) {
			continue
		}
		out = append(out, Doubt{ID: id, Key: s.key, Address: s.address, Why: why})
	}
	return out
}

// sells reports whether a slot has a live offer of ours that is meant to sell,
// be it until its drain is over.
func (p *planner) sells(s *subject) bool {
	o, obj := s.offer(), p.World.Seen[s.id(resource.ServiceOffer)].Object
	return o != nil && o.InCluster() && p.Policy.Includes(s.key) && !p.ended(s.key) &&
		obj != nil && !obj.Going && obj.Label(resource.SiteLabel) == p.Site && p.held(obj) == ""
}

// ended reports whether an offer is deleted, or its drain is over.
func (p *planner) ended(k offer.Key) bool {
	_, dead := p.Memory.Marks.Tombstone(k)
	d, drains := p.Memory.Marks.Drain(k)
	return dead || drains && !p.Now.Before(d.EndsAt())
}

// doubt says why the controller should look at an offer, and since when it is
// so; "" when there is no reason.
func (p *planner) doubt(s *subject) (why string, since time.Time) {
	healthy, known := condition(p.World.Seen[s.id(resource.ServiceOffer)].Object, "UpstreamHealthy")
	if !s.offer().HasGateway() {
		return p.doubtUpstream(s, healthy)
	}
	seen := p.World.Seen[s.id(resource.GatewayKind)]
	if !known || seen.Presence == resource.Unknown { // nobody looked yet, and will without us; or we cannot tell
		return "", since
	}
	run := seen.Gateway
	lives := seen.Presence == resource.Present
	switch {
	case lives && run.Answering:
		return p.doubtHealth(s, healthy, run)
	case healthy.Status == "True" && !(lives && run.State == resource.GatewayStarting):
		return "its gateway does not answer, and UpstreamHealthy is True", died(run, p.Now)
	}
	return "", since
}

// doubtUpstream is doubt of an offer that a Service answers for. One that is
// said to be down the controller looks at again by itself.
func (p *planner) doubtUpstream(s *subject, healthy Condition) (why string, since time.Time) {
	up := p.upstream(s, s.offer())
	if !up.gone() || healthy.Status != "True" {
		return "", since
	}
	if since = p.past(up.Since); since.IsZero() { // a touch counts for a while, or until the offer is healthy again
		since = later(p.Now.Add(-touchPause), p.past(healthy.Since))
	}
	return up.Why + ", and UpstreamHealthy is True", since
}

// doubtHealth is doubt of an offer whose gateway answers.
func (p *planner) doubtHealth(s *subject, healthy Condition, run *resource.Running) (why string, since time.Time) {
	switch {
	case healthy.Status == "True" && !run.Healthy && !run.HealthSince.IsZero():
		return "its gateway is not healthy, and UpstreamHealthy is True", run.HealthSince
	case healthy.Status == "True" && run.Healthy && !p.pathSeen(s, time.Time{}):
		return "its gateway is new, and the cluster has not asked it yet", p.reachable(s)
	case healthy.Status == "False" && run.Healthy && healthy.Since.Before(run.HealthSince):
		return "its gateway is healthy, and UpstreamHealthy is False", run.HealthSince
	}
	return "", since
}

// died tells when a gateway ended. Where nobody saw it, a touch counts for a
// while.
func died(run *resource.Running, now time.Time) time.Time {
	if run != nil && run.Last != nil {
		return run.Last.At
	}
	return now.Add(-touchPause)
}

// reachable tells since when pods could reach a gateway as they can now: it
// runs, and its address is in the EndpointSlice.
func (p *planner) reachable(s *subject) time.Time {
	var since time.Time
	if run := p.World.Seen[s.id(resource.GatewayKind)].Gateway; run != nil {
		since = run.Identity.Started
	}
	if slice := p.World.Seen[s.id(resource.EndpointSlice)].Object; slice != nil {
		since = later(since, p.past(writerOf(slice, "endpoints").At))
	}
	return since
}

// past gives a time of the API server's clock. While that is ahead of ours it
// says nothing of what came before or after, and is zero: otherwise an offer would
// be touched at each look until then.
func (p *planner) past(at time.Time) time.Time {
	if at.After(p.Now) {
		return time.Time{}
	}
	return at
}

// pathSeen reports whether a gateway was asked under its cluster name since pods
// can reach it, and since that time.
func (p *planner) pathSeen(s *subject, since time.Time) bool {
	at := p.World.Seen[s.id(resource.GatewayKind)].Gateway.PathSeen
	return !at.IsZero() && !at.Before(later(since, p.reachable(s)))
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// touched tells when an offer was last touched; zero when never.
func touched(obj *resource.Object) time.Time {
	at, err := time.Parse(time.RFC3339Nano, obj.Annotation(resource.TouchedAnnotation))
	if err != nil {
		return time.Time{} // nobody's touch that we know
	}
	return at
}

// condition finds one of a live offer's.
func condition(obj *resource.Object, kind string) (Condition, bool) {
	all := Conditions(obj)
	i := slices.IndexFunc(all, func(c Condition) bool { return c.Type == kind })
	if i < 0 {
		return Condition{}, false
	}
	return all[i], true
}

// Lacks says of offers what each still waits for until its conditions let it
// sell, by what one look saw: its gateway, the upstream, the path between the
// cluster and it, or a condition. One that is standalone waits for nothing in the
// cluster. What lacks nothing is not in the map.
func Lacks(in Input, offers []offer.Key) map[offer.Key]string {
	p := newPlanner(in)
	out := map[offer.Key]string{}
	for _, s := range subjects(in) {
		if !slices.ContainsFunc(offers, s.key.SameName) {
			continue
		}
		if why := p.lacks(s); why != "" {
			out[s.key] = why
		}
	}
	return out
}

func (p *planner) lacks(s *subject) string {
	gated := s.offer() != nil && s.offer().HasGateway()
	if gated {
		if why := gatewayLacks(p.World.Seen[s.id(resource.GatewayKind)]); why != "" {
			return why
		}
	}
	if s.offer() != nil && s.offer().Standalone {
		return ""
	}
	if up := p.upstream(s, s.offer()); up.gone() {
		return "upstream: " + up.Why
	}
	seen := p.World.Seen[s.id(resource.ServiceOffer)]
	if seen.Presence != resource.Present {
		why := "ServiceOffer: " + seen.Presence.String()
		if seen.Why != "" {
			why += " (" + seen.Why + ")"
		}
		return why
	}
	if gated && !p.pathSeen(s, touched(seen.Object)) {
		return "path: the cluster has not asked its gateway yet"
	}
	if _, sells := Sellable(seen.Object, p.Now); sells != nil && *sells {
		return ""
	}
	return conditionLacks(seen.Object)
}

// conditionLacks says which condition keeps an offer from selling.
func conditionLacks(obj *resource.Object) string {
	for _, c := range Conditions(obj) {
		if c.Status != "True" && c.Type != "Draining" && c.Type != "Ready" && c.Type != "Registered" {
			return fmt.Sprintf("%s (%s: %s)", c.Type, c.Reason, c.Message)
		}
	}
	return "the controller"
}

func gatewayLacks(seen resource.Sighting) string {
	switch {
	case seen.Presence == resource.Unknown:
		return "gateway: it could not be seen (" + seen.Why + ")"
	case seen.Presence == resource.Absent:
		return "gateway: it does not run"
	case !seen.Gateway.Answering:
		return "gateway: it does not answer"
	case !seen.Gateway.Healthy:
		return "upstream: " + seen.Gateway.HealthReason
	}
	return ""
}
