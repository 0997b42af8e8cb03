package plan

// next gives the command that settles a change which will not come about by
// itself; "" when nothing needs settling.
func next(c Change) string {
	target := "obolctl apply --target '" + c.Address.String() + "'"
	if c.Address.Label == "" {
		return "obolctl status"
	}
	switch {
	case c.Action == Block && c.Cause == Tombstoned:
		return "obolctl undelete '" + c.Address.String() + "'"
	case c.Action == Block:
		return "obolctl status '" + c.Address.String() + "'"
	case !c.Withheld:
		return ""
	case c.Cause == OtherHolder:
		return target + " --take-over"
	case c.Cause == AgentWallet:
		return "obolctl status '" + c.Address.String() + "'"
	}
	return target
}
