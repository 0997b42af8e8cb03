package controller

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// reasons shows conditions as one word each, the true ones in capitals.
func reasons(conditions []v1alpha1.Condition) string {
	var out []string
	for _, c := range conditions {
		word := strings.ToLower(c.Reason)
		if isTrue(c) {
			word = strings.ToUpper(c.Reason)
		}
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func offerNamed(name string, change ...func(*v1alpha1.ServiceOffer)) *v1alpha1.ServiceOffer {
	o := &v1alpha1.ServiceOffer{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "shop", UID: types.UID(name), CreationTimestamp: metav1.NewTime(noon)},
		Spec:       v1alpha1.ServiceOfferSpec{Type: "http"},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

func drains(at time.Time, grace string) func(*v1alpha1.ServiceOffer) {
	return func(o *v1alpha1.ServiceOffer) {
		t := metav1.NewTime(at)
		o.Spec.DrainAt = &t
		if grace != "" {
			o.Spec.DrainGracePeriod = &grace
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	inference := func(model string) func(*v1alpha1.ServiceOffer) {
		return func(o *v1alpha1.ServiceOffer) {
			o.Spec.Type, o.Spec.Model = "inference", &v1alpha1.Model{Name: model}
		}
	}
	path := func(p string) func(*v1alpha1.ServiceOffer) {
		return func(o *v1alpha1.ServiceOffer) { o.Spec.Path = p }
	}
	registering := func(o *v1alpha1.ServiceOffer) { o.Spec.Registration = &v1alpha1.Registration{Enabled: true} }
	down, refused := errors.New("connection refused"), errors.New("refused")
	lost := &obstacle{pathConflict, "taken"}

	tests := map[string]struct {
		offer *v1alpha1.ServiceOffer
		facts facts
		want  string // in the stack's order: model, upstream, draining, gate, route, registered, ready
	}{
		"all well":                {offerNamed("a"), facts{}, "SKIPPED HEALTHY active RECONCILED RECONCILED DISABLED RECONCILED"},
		"a model":                 {offerNamed("a", inference("m")), facts{}, "DECLARED HEALTHY active RECONCILED RECONCILED DISABLED RECONCILED"},
		"a model without name":    {offerNamed("a", inference("")), facts{}, "missingmodel HEALTHY active RECONCILED RECONCILED DISABLED reconciling"},
		"no service":              {offerNamed("a"), facts{upstream: errNoService}, "SKIPPED missingservice active waitingforupstream waitingforpaymentgate DISABLED reconciling"},
		"upstream down":           {offerNamed("a"), facts{upstream: down}, "SKIPPED unhealthy active waitingforupstream waitingforpaymentgate DISABLED reconciling"},
		"no verifier":             {offerNamed("a"), facts{verifier: "gone"}, "SKIPPED HEALTHY active waitingforgateway waitingforpaymentgate DISABLED reconciling"},
		"neither":                 {offerNamed("a"), facts{upstream: down, verifier: "gone"}, "SKIPPED unhealthy active waitingforupstream waitingforpaymentgate DISABLED reconciling"},
		"grant refused":           {offerNamed("a"), facts{grant: refused}, "SKIPPED HEALTHY active applyfailed waitingforpaymentgate DISABLED reconciling"},
		"route refused":           {offerNamed("a"), facts{route: refused}, "SKIPPED HEALTHY active RECONCILED applyfailed DISABLED reconciling"},
		"no agent":                {offerNamed("a"), facts{agent: "gone"}, "waitingforagent waitingforagent active waitingforagent waitingforagent DISABLED waitingforagent"},
		"no agent, drained":       {offerNamed("a", drains(noon, "0s")), facts{agent: "gone"}, "waitingforagent waitingforagent drained waitingforagent waitingforagent DISABLED waitingforagent"},
		"reserved":                {offerNamed("a", path("/api/x")), facts{}, "SKIPPED HEALTHY active reservedpath reservedpath DISABLED reconciling"},
		"reserved, and taken":     {offerNamed("a", path("/api/x")), facts{conflict: lost}, "SKIPPED HEALTHY active reservedpath reservedpath DISABLED reconciling"},
		"taken":                   {offerNamed("a"), facts{conflict: lost}, "SKIPPED HEALTHY active pathconflict pathconflict DISABLED reconciling"},
		"taken, upstream down":    {offerNamed("a"), facts{conflict: lost, upstream: down}, "SKIPPED unhealthy active pathconflict pathconflict DISABLED reconciling"},
		"taken, drained":          {offerNamed("a", drains(noon, "0s")), facts{conflict: lost}, "SKIPPED HEALTHY drained pathconflict pathconflict DISABLED reconciling"},
		"draining":                {offerNamed("a", drains(noon, "")), facts{}, "SKIPPED HEALTHY DRAINING RECONCILED RECONCILED DISABLED RECONCILED"},
		"draining from tomorrow":  {offerNamed("a", drains(noon.Add(24*time.Hour), "0s")), facts{}, "SKIPPED HEALTHY DRAINING RECONCILED RECONCILED DISABLED RECONCILED"},
		"drained at once":         {offerNamed("a", drains(noon, "0s")), facts{}, "SKIPPED HEALTHY drained drained drained DISABLED reconciling"},
		"drained after an hour":   {offerNamed("a", drains(noon.Add(-time.Hour), "")), facts{}, "SKIPPED HEALTHY drained drained drained DISABLED reconciling"},
		"to register":             {offerNamed("a", registering), facts{}, "SKIPPED HEALTHY active RECONCILED RECONCILED awaitingexternalregistration reconciling"},
		"to register, no route":   {offerNamed("a", registering), facts{route: refused}, "SKIPPED HEALTHY active RECONCILED applyfailed waitingforroute reconciling"},
		"to register, no gateway": {offerNamed("a", registering), facts{verifier: "gone"}, "SKIPPED HEALTHY active waitingforgateway waitingforpaymentgate waitingforroute reconciling"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.facts.now = noon
			if diff := cmp.Diff(tc.want, reasons(judge(tc.offer, tc.facts))); diff != "" {
				t.Errorf("conditions (-want +got):\n%s", diff)
			}
		})
	}
}

func TestReserved(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		path, route string
		want        string
	}{
		"own path":              {"/services/a", "/*", ""},
		"default path":          {"", "/v1/*", ""},
		"root":                  {"/", "/*", `path "/" is reserved`},
		"all services":          {"/services", "/*", `path "/services" is reserved`},
		"all services, slash":   {"/services/", "/*", `path "/services" is reserved`},
		"api":                   {"/api", "/*", `path "/api" is reserved`},
		"below api":             {"/api/services.json", "/*", `path "/api/services.json" is reserved`},
		"begins like api":       {"/apiary", "/*", ""},
		"well known":            {"/.well-known/x402", "/*", `path "/.well-known/x402" is reserved`},
		"auth as a path":        {"/auth", "/*", ""},
		"auth as a route":       {"/a", "/auth", `route "/auth" is reserved`},
		"below auth as a route": {"/a", "/auth/*", `route "/auth/*" is reserved`},
		"skill as a route":      {"/a", "/skill.md/", `route "/skill.md/" is reserved`},
		"root as a route":       {"/a", "/", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if why := reserved(offerNamed("a", func(o *v1alpha1.ServiceOffer) {
				o.Spec.Path, o.Spec.Routes = tc.path, []v1alpha1.Route{{Path: tc.route}}
			})); why != nil {
				got = why.message
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestBeaten(t *testing.T) {
	t.Parallel()
	at := func(path, host string, age time.Duration) func(*v1alpha1.ServiceOffer) {
		return func(o *v1alpha1.ServiceOffer) {
			o.Spec.Path, o.Spec.Hostname = path, host
			o.CreationTimestamp = metav1.NewTime(noon.Add(-age))
		}
	}
	me := offerNamed("m", at("/x", "x.example", time.Minute))
	tests := map[string]struct {
		others []v1alpha1.ServiceOffer
		want   string
	}{
		"alone":           {[]v1alpha1.ServiceOffer{*me}, ""},
		"older":           {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/x", "", time.Hour))}, pathConflict},
		"older, slash":    {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/x/", "", time.Hour))}, pathConflict},
		"younger":         {[]v1alpha1.ServiceOffer{*offerNamed("a", at("/x", "x.example", 0))}, ""},
		"same age, first": {[]v1alpha1.ServiceOffer{*offerNamed("a", at("/x", "", time.Minute))}, pathConflict},
		"same age, last":  {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/x", "", time.Minute))}, ""},
		"below it":        {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/x/y", "", time.Hour))}, ""},
		"hostname":        {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/z", "x.example", time.Hour))}, hostnameConflict},
		"hostname goes before path": {[]v1alpha1.ServiceOffer{
			*offerNamed("y", at("/x", "", time.Hour)), *offerNamed("z", at("/z", "X.example", time.Hour)),
		}, hostnameConflict},
		"no hostname each": {[]v1alpha1.ServiceOffer{*offerNamed("z", at("/z", "", time.Hour))}, ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := ""
			if why := beaten(me, tc.others); why != nil {
				got = why.reason
			}
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAgain(t *testing.T) {
	t.Parallel()
	lost := &obstacle{pathConflict, "taken"}
	tests := map[string]struct {
		offer          *v1alpha1.ServiceOffer
		conflict       *obstacle
		ready, reprobe bool
		want           time.Duration
	}{
		"ready":                   {offerNamed("a"), nil, true, false, 0},
		"ready, reprobed":         {offerNamed("a"), nil, true, true, 5 * time.Second},
		"not ready":               {offerNamed("a"), nil, false, false, 5 * time.Second},
		"in conflict":             {offerNamed("a"), lost, false, false, 30 * time.Second},
		"draining":                {offerNamed("a", drains(noon, "1m")), nil, true, false, 61 * time.Second},
		"draining, reprobed":      {offerNamed("a", drains(noon, "1m")), nil, true, true, 5 * time.Second},
		"ends before next look":   {offerNamed("a", drains(noon, "2s")), nil, false, false, 3 * time.Second},
		"drained":                 {offerNamed("a", drains(noon, "0s")), nil, false, false, 5 * time.Second},
		"drains before conflicts": {offerNamed("a", drains(noon, "9s")), lost, false, false, 10 * time.Second},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := again(tc.offer, facts{now: noon, conflict: tc.conflict}, tc.ready, tc.reprobe); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}

// TestDated: a status that stays keeps its time, whatever its reason.
func TestDated(t *testing.T) {
	t.Parallel()
	before, now := metav1.NewTime(noon), noon.Add(time.Hour)
	was := []v1alpha1.Condition{no("A", "Old", ""), no("B", "Old", "")}
	was[0].LastTransitionTime, was[1].LastTransitionTime = &before, &before
	got := dated([]v1alpha1.Condition{no("A", "New", ""), yes("B", "New", ""), yes("C", "New", "")}, was, now)
	for i, want := range []time.Time{noon, now, now} {
		if !got[i].LastTransitionTime.Time.Equal(want) {
			t.Errorf("%s holds since %v, want %v", got[i].Type, got[i].LastTransitionTime, want)
		}
	}
}

func TestHealthURL(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		kind string
		up   *v1alpha1.Upstream
		want string
	}{
		"all said":  {"http", &v1alpha1.Upstream{Service: "s", Namespace: "n", Port: 80, HealthPath: "/ok"}, "http://s.n.svc.cluster.local:80/ok"},
		"fallbacks": {"http", &v1alpha1.Upstream{Service: "s", Port: 80}, "http://s.shop.svc.cluster.local:80/"},
		"agent":     {"agent", nil, "http://hermes.shop.svc.cluster.local:8642/health"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := healthURL(offerNamed("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Type, o.Spec.Upstream = tc.kind, tc.up }))
			if err != nil || got != tc.want {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
	for _, up := range []*v1alpha1.Upstream{nil, {Namespace: "n", Port: 80}} {
		if _, err := healthURL(offerNamed("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Upstream = up })); !errors.Is(err, errNoService) {
			t.Errorf("upstream %v: %v", up, err)
		}
	}
}

// TestNames: a child's name fits, and no two offers share one.
func TestNames(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 253)
	if got := pathRoute(offerNamed(long)).GetName(); len(got) != 253 || got == pathRoute(offerNamed(long[:252]+"b")).GetName() {
		t.Errorf("the route of a long name is %q", got)
	}
	inOther := offerNamed("b", func(o *v1alpha1.ServiceOffer) { o.Namespace = "shop-a" })
	if grant(offerNamed("a-b")).GetName() == grant(inOther).GetName() {
		t.Error("two offers share a grant")
	}
}
