package resource_test

import (
	"testing"

	"github.com/obolctl/obolctl/pkg/resource"
)

func TestUnitName(t *testing.T) {
	t.Parallel()
	const name = "obolctl-gateway@home:llm:qwen.service"
	id := resource.ID{Kind: resource.GatewayKind, Namespace: "llm", Name: "qwen"}
	if got := resource.UnitName("home", id); got != name {
		t.Errorf("UnitName = %q, want %q", got, name)
	}
	if site, got, ok := resource.ParseUnitName(name); !ok || site != "home" || got != id {
		t.Errorf("ParseUnitName = %q, %v, %v", site, got, ok)
	}
	for _, other := range []string{
		"", resource.UnitTemplate, "obolctl-gateway@home:llm.service", "obolctl-gateway@home:llm:qwen:x.service",
		"obolctl-gateway@home:llm:qwen.timer", "obolctl-converge@home:llm:qwen.service", "home:llm:qwen",
	} {
		if site, id, ok := resource.ParseUnitName(other); ok {
			t.Errorf("%q is the unit of %v of site %q", other, id, site)
		}
	}
}
