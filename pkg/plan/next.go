package plan

import (
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

// masked gives the unit of an offer's gateway when somebody masked it.
func (p *planner) masked(s *subject) string {
	run := p.World.Seen[s.id(resource.GatewayKind)].Gateway
	if run == nil || run.Held != resource.HeldMasked {
		return ""
	}
	return run.Unit
}

// next gives the command that settles a change which will not come about by
// itself; "" when nothing needs settling. Where the file has to be edited first,
// or an agent to be put right, the reason says so.
func (p *planner) next(s *subject, c Change) string {
	address := c.Address.Typed()
	stuck := c.Action == Block
	switch {
	case !c.Withheld && !stuck:
		return ""
	case stuck && c.Cause == Tombstoned:
		return "obolctl undelete " + address
	case stuck && c.Cause != Removed && s.accepted == nil && s.declared != nil: // status knows what was accepted
		return "obolctl plan --target " + address
	case stuck && c.Cause != Removed:
		return strings.TrimSpace("obolctl status " + address)
	case address == "":
		return "obolctl apply"
	case c.Cause == HeldDown && p.masked(s) != "":
		return "systemctl --user unmask " + p.masked(s)
	case c.Cause == OtherHolder:
		return "obolctl apply --take-over --target " + address
	}
	return "obolctl apply --target " + address
}
