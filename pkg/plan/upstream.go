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
	id := resource.ID{Kind: resource.Upstream, Namespace: o.Namespace, Name: o.Name} // a demo's own
	switch {
	case o.HasGateway() || o.Standalone:
		return resource.ID{}, false
	case o.AgentRef.Name != "":
		id.Name = agentService
	case o.Upstream.Service != "":
		id.Namespace, id.Name = o.Upstream.Namespace, o.Upstream.Service
	}
	return id, true
}

// upstream gives what was seen of the Service that answers for a slot's offer.
// That of one with a gateway, or without an offer, is unknown.
func (p *planner) upstream(s *subject) resource.Sighting {
	if s.offer() == nil {
		return resource.Sighting{}
	}
	id, _ := UpstreamOf(*s.offer())
	return p.World.Seen[id]
}

// upstreamStatus tells how the Service stands that answers for an offer; nil
// where a gateway does.
func (p *planner) upstreamStatus(o offer.Offer) *UpstreamStatus {
	id, is := UpstreamOf(o)
	if !is {
		return nil
	}
	seen := p.World.Seen[id]
	return &UpstreamStatus{Namespace: id.Namespace, Name: id.Name, Ready: seen.Presence, Why: seen.Why}
}

// An idle is a Service behind which nothing answers, and the offers that it
// should answer for.
type idle struct {
	why   string
	names []string
}

// noteUpstream remembers an offer that is meant to sell and that nothing answers
// for.
func (p *planner) noteUpstream(s *subject) {
	up := p.upstream(s)
	if up.Presence != resource.Absent || !Selling(p.Memory.Marks, s.key) {
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
