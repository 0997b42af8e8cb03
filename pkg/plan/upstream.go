package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// agentService is the Service of an agent, in the namespace that is its own.
const agentService = "hermes"

// UpstreamOf names the Service that answers for an offer; false where a gateway
// on this host does.
func UpstreamOf(o offer.Offer) (resource.ID, bool) {
	switch {
	case o.HasGateway() || o.Standalone:
		return resource.ID{}, false
	case o.AgentRef.Name != "":
		return resource.UpstreamID(o.Namespace, agentService, 0), true
	case o.Upstream.Service != "":
		return resource.UpstreamID(o.Upstream.Namespace, o.Upstream.Service, o.Upstream.Port), true
	}
	return resource.UpstreamID(o.Namespace, o.Name, 0), true // a demo's own
}

// upstream tells how the Service stands that answers for an offer of a slot; nil
// where a gateway does. That of an agent or a demo is made beside the offer:
// until the controller found it well, its conditions tell more.
func (p *planner) upstream(s *subject, o *offer.Offer) *UpstreamStatus {
	if o == nil {
		return nil
	}
	id, is := UpstreamOf(*o)
	if !is || o.Upstream.Service == "" && !p.healthy(s) {
		return nil
	}
	seen := p.World.Seen[id]
	service, _ := id.Service()
	return &UpstreamStatus{Namespace: id.Namespace, Name: service, Ready: seen.Presence, Why: seen.Why, Since: seen.Since}
}

// healthy reports whether the controller found the upstream of a live offer well.
func (p *planner) healthy(s *subject) bool {
	obj := p.World.Seen[s.id(resource.ServiceOffer)].Object
	if obj == nil {
		return false
	}
	c, _ := condition(obj, "UpstreamHealthy")
	return c.Status == "True"
}

// An idle is a Service behind which nothing answers, and the offers that it
// should answer for.
type idle struct {
	why   string
	names []string
}

// noteUpstream remembers an offer that is meant to sell and that nothing answers
// for, unless its steps make what does.
func (p *planner) noteUpstream(s *subject, steps []Step) {
	up := p.upstream(s, s.offer())
	made := func(st Step) bool {
		return st.makes() && (st.ID.Kind == resource.Service || st.ID.Kind == resource.Deployment) && st.ID.Namespace == up.Namespace && st.ID.Name == up.Name
	}
	if !up.gone() || slices.ContainsFunc(steps, made) || !Selling(p.Memory.Marks, s.key) {
		return
	}
	i := slices.IndexFunc(p.idle, func(u idle) bool { return u.why == up.Why })
	if i < 0 {
		i = len(p.idle)
		p.idle = append(p.idle, idle{why: up.Why})
	}
	p.idle[i].names = append(p.idle[i].names, s.address.String())
}

// noteIdle tells once of each Service what it leaves without an answer.
func (p *planner) noteIdle() []string {
	var notes []string
	for _, u := range p.idle {
		notes = append(notes, fmt.Sprintf("%s: nothing answers for %s", u.why, few(u.names)))
	}
	return notes
}

// few lists some addresses, and counts the others.
func few(names []string) string {
	const most = 3
	if more := len(names) - most; more > 0 {
		names = append(names[:most:most], fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}
