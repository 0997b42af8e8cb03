package resource

import "strings"

// A gateway's unit of systemd is an instance of one template.
const (
	unitPrefix = "obolctl-gateway@"
	unitSuffix = ".service"

	// UnitTemplate is that of all gateways of an account.
	UnitTemplate = unitPrefix + unitSuffix
)

// UnitName names the unit of a gateway. Where the site, the namespace and the
// name are "*" it is a pattern of such names.
func UnitName(site string, id ID) string {
	return unitPrefix + site + ":" + id.Namespace + ":" + id.Name + unitSuffix
}

// ParseUnitName tells which gateway of which site a unit is for; false when it
// is for something else.
func ParseUnitName(unit string) (site string, id ID, ok bool) {
	instance, prefixed := strings.CutPrefix(unit, unitPrefix)
	instance, suffixed := strings.CutSuffix(instance, unitSuffix)
	site, id, ok = ParseInstance(instance)
	return site, id, ok && prefixed && suffixed
}

// ParseInstance does so with the part of a unit's name that the template
// knows as %i: SITE:NAMESPACE:NAME.
func ParseInstance(instance string) (site string, id ID, ok bool) {
	names := strings.Split(instance, ":")
	if len(names) != 3 {
		return "", ID{}, false
	}
	return names[0], ID{Kind: GatewayKind, Namespace: names[1], Name: names[2]}, true
}
