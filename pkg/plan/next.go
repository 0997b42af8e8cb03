package plan

import (
	"strings"

	"github.com/obolctl/obolctl/pkg/offer"
)

// next gives the command that settles a change which will not come about by
// itself; "" when nothing needs settling. Where the file has to be edited first,
// the reason says so.
func (p *planner) next(s *subject, c Change) string {
	address := quoted(c.Address)
	stuck := c.Action == Block
	switch {
	case !c.Withheld && !stuck:
		return ""
	case stuck && c.Cause == Tombstoned:
		return "obolctl undelete " + address
	case stuck && c.Cause != Removed, p.wallet(s).lost != "":
		return strings.TrimSpace("obolctl status " + address)
	case address == "":
		return "obolctl apply"
	case c.Cause == OtherHolder:
		return "obolctl apply --take-over --target " + address
	}
	return "obolctl apply --target " + address
}

// quoted gives an address as a shell takes it.
func quoted(a offer.Address) string {
	s := a.String()
	if strings.ContainsAny(s, "[]\"'$`\\ *?&|;<>(){}~#!") {
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	return s
}
