package controller

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// An obstacle is why an offer has no place at the payment gate.
type obstacle struct{ reason, message string }

// ours are the paths, and what lies below them, that the stack serves itself.
var ours = []string{"/api", "/openapi.json", "/skill.md", "/rpc", "/.well-known"}

// reserved finds a path of the offer, or of one of its routes, that the stack
// keeps for itself; nil when there is none.
func reserved(o *v1alpha1.ServiceOffer) *obstacle {
	path := selling.Path(o)
	if path == "" || path == "/services" || under(path, ours) {
		return &obstacle{"ReservedPath", fmt.Sprintf("path %q is reserved", cmp.Or(path, "/"))}
	}
	for _, r := range o.Spec.Routes {
		path := strings.TrimSuffix(strings.TrimSuffix(r.Path, "*"), "/")
		if path == "/services" || under(path, ours) || under(path, []string{"/auth"}) {
			return &obstacle{"ReservedPath", fmt.Sprintf("route %q is reserved", r.Path)}
		}
	}
	return nil
}

// under reports whether path is one of the prefixes or lies below one.
func under(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if rest, ok := strings.CutPrefix(path, p); ok && (rest == "" || rest[0] == '/') {
			return true
		}
	}
	return false
}

// beaten finds what an older offer keeps o from: first its hostname, then its
// path; nil when nothing does.
func beaten(o *v1alpha1.ServiceOffer, all []v1alpha1.ServiceOffer) *obstacle {
	var found *obstacle
	for i := range all {
		other := &all[i]
		if selling.Older(other, o) >= 0 {
			continue
		}
		switch why := compete(other, o); {
		case why == nil:
		case why.reason == hostnameConflict:
			return why
		case found == nil:
			found = why
		}
	}
	return found
}

const (
	hostnameConflict = "HostnameConflict"
	pathConflict     = "PathConflict"
)

// compete says what two offers both want, as the loser is told; nil when they
// want different things or are the same.
func compete(winner, loser *v1alpha1.ServiceOffer) *obstacle {
	if winner.UID == loser.UID {
		return nil
	}
	if host := selling.Hostname(loser); host != "" && host == selling.Hostname(winner) {
		return &obstacle{hostnameConflict, fmt.Sprintf("hostname %q belongs to the older offer %s/%s", host, winner.Namespace, winner.Name)}
	}
	if path := selling.Path(loser); path == selling.Path(winner) {
		return &obstacle{pathConflict, fmt.Sprintf("path %q belongs to the older offer %s/%s", path, winner.Namespace, winner.Name)}
	}
	return nil
}
