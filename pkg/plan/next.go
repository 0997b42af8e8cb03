package plan

import (
	"strings"
)

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
	case c.Cause == OtherHolder:
		return "obolctl apply --take-over --target " + address
	}
	return "obolctl apply --target " + address
}
