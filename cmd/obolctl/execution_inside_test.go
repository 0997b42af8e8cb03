package main

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// TestKeepsOther: units come to run this build when no gateway is left that they
// run from another.
func TestKeepsOther(t *testing.T) {
	t.Parallel()
	kept := func(by, version string) resource.Sighting {
		return resource.Sighting{Presence: resource.Present, Gateway: &resource.Running{Supervisor: by, Identity: resource.Identity{Version: version}}}
	}
	step := func(a plan.Action, restart, withheld bool) plan.Step {
		return plan.Step{ID: gatewayNamed("a"), Action: a, Terms: resource.Terms{Restart: restart}, Withheld: withheld}
	}
	for name, tc := range map[string]struct {
		a, b resource.Sighting // two gateways
		step plan.Step         // about the first
		want bool
	}{
		"none runs":         {a: resource.Sighting{Presence: resource.Absent}, b: resource.Sighting{}},
		"no gateway":        {a: resource.Sighting{Presence: resource.Present}},
		"both of this":      {a: kept("systemd", version), b: kept("systemd", version)},
		"another":           {a: kept("systemd", "0.0.1"), b: kept("systemd", version), want: true},
		"another, detached": {a: kept("detached", "0.0.1"), b: kept("systemd", version)},
		"nobody knows":      {a: kept("systemd", ""), b: kept("systemd", version), want: true},
		"upgraded":          {a: kept("systemd", "0.0.1"), step: step(plan.Restart, true, false)},
		"withheld":          {a: kept("systemd", "0.0.1"), step: step(plan.Restart, true, true), want: true},
		"one of two":        {a: kept("systemd", "0.0.1"), b: kept("systemd", "0.0.1"), step: step(plan.Restart, true, false), want: true},
		"reloaded":          {a: kept("systemd", "0.0.1"), step: step(plan.Reload, false, false), want: true},
		"deleted":           {a: kept("systemd", "0.0.1"), step: step(plan.Delete, false, false)},
		"stopped":           {a: kept("systemd", "0.0.1"), step: step(plan.Stop, false, false)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := execution{plan: plan.Plan{Changes: []plan.Change{{Steps: []plan.Step{tc.step}}}}}
			r.in.World.Seen = map[resource.ID]resource.Sighting{gatewayNamed("a"): tc.a, gatewayNamed("b"): tc.b}
			if got := r.keepsOther(); got != tc.want {
				t.Errorf("keepsOther = %t", got)
			}
		})
	}
}

func gatewayNamed(name string) resource.ID {
	return resource.ID{Kind: resource.GatewayKind, Namespace: "shop", Name: name}
}
