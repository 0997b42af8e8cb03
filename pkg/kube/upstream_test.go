package kube_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/kube"
	"github.com/obolctl/obolctl/pkg/resource"
)

const (
	servicesPath = "/api/v1/services"
	slicesPath   = "/apis/discovery.k8s.io/v1/endpointslices"
)

var weather = resource.ID{Kind: resource.Upstream, Namespace: "apps", Name: "weather"}

// weatherService is Service apps/weather, of a type. It bears the label of the
// site, which makes it no object that was asked about.
func weatherService(kind string) map[string]any {
	o := object("Service", "apps", "weather")
	o["metadata"].(map[string]any)["labels"] = map[string]any{resource.SiteLabel: "home"}
	o["spec"] = map[string]any{"type": kind}
	return o
}

// weatherSlice is an EndpointSlice of Service apps/weather, last written at a minute.
func weatherSlice(minute int, ready ...any) map[string]any {
	var endpoints []any
	for _, r := range ready {
		endpoints = append(endpoints, map[string]any{"addresses": []any{"10.42.0.9"}, "conditions": map[string]any{"ready": r}})
	}
	o := object("EndpointSlice", "apps", "weather-x7k2p")
	meta := o["metadata"].(map[string]any)
	meta["labels"] = map[string]any{"kubernetes.io/service-name": "weather"}
	meta["managedFields"] = []any{
		map[string]any{"manager": "kube-controller-manager", "operation": "Update", "time": fmt.Sprintf("2026-11-01T12:%02d:00Z", minute)},
		map[string]any{"manager": "kubectl", "operation": "Update", "time": "2026-11-01T11:00:00Z"},
	}
	o["endpoints"] = endpoints
	return o
}

// TestUpstream: what is behind a Service; a LIST that failed never makes that
// nothing.
func TestUpstream(t *testing.T) {
	t.Parallel()
	minute := func(m int) time.Time { return time.Date(2026, 11, 1, 12, m, 0, 0, time.UTC) }
	present := resource.Sighting{Presence: resource.Present}
	empty := resource.Sighting{Presence: resource.Absent, Why: "Service apps/weather has no ready endpoint"}
	emptied := empty
	emptied.Since = minute(7)
	missing := resource.Sighting{Presence: resource.Absent, Why: "there is no Service apps/weather"}
	unknown := func(why string) resource.Sighting { return resource.Sighting{Why: why} }
	other := weatherSlice(1, true)
	other["metadata"].(map[string]any)["namespace"] = "else"
	services := func(items ...any) http.HandlerFunc { return say(page("Service", "", items...)) }
	slices := func(items ...any) http.HandlerFunc { return say(page("EndpointSlice", "", items...)) }
	for name, tc := range map[string]struct {
		services, slices http.HandlerFunc
		want             resource.Sighting
	}{
		"one is ready":              {services(weatherService("ClusterIP")), slices(weatherSlice(1, false, true)), present},
		"ready is the default":      {services(weatherService("ClusterIP")), slices(weatherSlice(1, nil)), present},
		"in the second slice":       {services(weatherService("ClusterIP")), slices(weatherSlice(1), weatherSlice(2, true)), present},
		"none is ready":             {services(weatherService("ClusterIP")), slices(weatherSlice(7, false)), emptied},
		"emptied by two writes":     {services(weatherService("ClusterIP")), slices(weatherSlice(7), weatherSlice(3, false)), emptied},
		"no slice":                  {services(weatherService("ClusterIP")), slices(), empty},
		"only those of another":     {services(weatherService("ClusterIP")), slices(other), empty},
		"no Service":                {services(), slices(), missing},
		"no Service, a slice is":    {services(), slices(weatherSlice(1, true)), missing},
		"no Service, slices unseen": {services(), forbidden("endpointslices"), missing},
		"a name for elsewhere":      {services(weatherService("ExternalName")), slices(), unknown("Service apps/weather stands for something outside the cluster")},
		"slices forbidden":          {services(weatherService("ClusterIP")), forbidden("endpointslices"), unknown(`forbidden: user "x" cannot list endpointslices (see ClusterRole obolctl in examples/rbac.yaml)`)},
		"slices garbled":            {services(weatherService("ClusterIP")), say(page("Pod", "")), unknown(`garbled answer: a "PodList" instead of a EndpointSliceList`)},
		"services forbidden":        {forbidden("services"), slices(weatherSlice(7)), unknown(`forbidden: user "x" cannot list services (see ClusterRole obolctl in examples/rbac.yaml)`)},
		"services forbidden, ready": {forbidden("services"), slices(weatherSlice(1, true)), present},
		"nothing to be seen":        {forbidden("services"), forbidden("endpointslices"), unknown(`forbidden: user "x" cannot list endpointslices (see ClusterRole obolctl in examples/rbac.yaml)`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newAPI(t)
			a.on(servicesPath, tc.services)
			a.on(slicesPath, tc.slices)
			c := a.open(t, 0)
			cluster, seen := c.Look(t.Context(), kube.Ask{IDs: []resource.ID{weather}, Site: "home"})
			if diff := cmp.Diff(tc.want, seen[weather]); diff != "" {
				t.Errorf("by a look (-want +got):\n%s", diff)
			}
			if len(seen) != 1 || cluster.Unknown != nil || cluster.Why != "" {
				t.Errorf("it tells of %d things, and lacks %v, %q", len(seen), cluster.Unknown, cluster.Why)
			}
			if diff := cmp.Diff(tc.want, c.See(t.Context(), []resource.ID{weather})[weather]); diff != "" {
				t.Errorf("while waiting (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUpstreamPorts: what answers at one port of a Service answers at no other.
func TestUpstreamPorts(t *testing.T) {
	t.Parallel()
	ports := func(all ...any) any { return all }
	named := func(name string, port int) any { return map[string]any{"name": name, "port": port} }
	service := weatherService("ClusterIP")
	service["spec"].(map[string]any)["ports"] = ports(named("web", 80), named("metrics", 9090))
	web, metrics, unready := weatherSlice(1, true), weatherSlice(2, true), weatherSlice(3, false)
	web["ports"], metrics["ports"] = ports(named("web", 8080)), ports(named("metrics", 9090))
	unready["ports"] = ports(named("web", 8080))
	for name, tc := range map[string]struct {
		slices []any
		port   int
		why    string // empty: it is present
	}{
		"its own":          {[]any{metrics, web}, 80, ""},
		"any":              {[]any{metrics}, 0, ""},
		"only another":     {[]any{metrics}, 80, "Service apps/weather has no ready endpoint at port 80"},
		"its own is not":   {[]any{metrics, unready}, 80, "Service apps/weather has no ready endpoint at port 80"},
		"none is":          {[]any{unready}, 80, "Service apps/weather has no ready endpoint"},
		"no such port":     {[]any{metrics, web}, 8080, "Service apps/weather has no port 8080"},
		"nobody says what": {[]any{weatherSlice(1, true)}, 80, ""},
	} {
		a := newAPI(t)
		a.on(servicesPath, say(page("Service", "", service)))
		a.on(slicesPath, say(page("EndpointSlice", "", tc.slices...)))
		id := resource.UpstreamID("apps", "weather", tc.port)
		seen := a.open(t, 0).See(t.Context(), []resource.ID{id, weather})
		if s := seen[id]; s.Why != tc.why || (s.Presence == resource.Present) != (tc.why == "") {
			t.Errorf("%s: it is %v (%s), want %q", name, s.Presence, s.Why, tc.why)
		}
	}
}

// TestUpstreamBesideOurs: a site with gateways lists Services and EndpointSlices
// anyway. They are listed once, for both, and what is ours among them is seen.
func TestUpstreamBesideOurs(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	mine := resource.ID{Kind: resource.EndpointSlice, Namespace: "apps", Name: "weather-x7k2p"}
	a.on(servicesPath, say(page("Service", "", weatherService("ClusterIP"))))
	a.on(slicesPath, say(page("EndpointSlice", "", weatherSlice(1, true))))
	c := a.open(t, 0)
	ids := []resource.ID{weather, mine, backend}
	for i := range 50 {
		ids = append(ids, resource.ID{Kind: resource.Upstream, Namespace: "apps", Name: fmt.Sprint("s", i)})
	}
	seen := c.See(t.Context(), ids)
	if seen[weather].Presence != resource.Present || seen[mine].Object == nil || seen[backend].Presence != resource.Absent {
		t.Errorf("it saw %+v, %+v, %+v", seen[weather], seen[mine], seen[backend])
	}
	if diff := cmp.Diff(map[string]int{"list": 2}, c.Requests()); diff != "" {
		t.Errorf("requests (-want +got):\n%s\n%q", diff, a.asked)
	}
}
