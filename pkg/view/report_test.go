package view_test

import (
	"time"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

func yes() *bool { b := true; return &b }
func no() *bool  { b := false; return &b }

func conditions(broken, reason, message string) []plan.Condition {
	var all []plan.Condition
	for _, kind := range []string{"ModelReady", "UpstreamHealthy", "Draining", "PaymentGateReady", "RoutePublished", "Registered", "Ready"} {
		c := plan.Condition{Type: kind, Status: "True", Reason: "Reconciled", Since: ago(3 * time.Hour)}
		switch kind {
		case "Draining":
			c.Status, c.Reason = "False", "Active"
		case broken:
			c.Status, c.Reason, c.Message = "False", reason, message
		}
		all = append(all, c)
	}
	return all
}

func runs(pid int) *resource.Running {
	return &resource.Running{State: resource.GatewayRunning, Supervisor: "systemd", Answering: true, Healthy: true,
		Listen: []string{"127.0.0.1:8402", "172.18.0.1:8402"}, PathSeen: ago(4 * time.Second),
		Identity: resource.Identity{PID: pid, Started: ago(3 * time.Hour), Version: "0.1.0"}}
}

func sells(o *offer.Offer) plan.OfferStatus {
	st := plan.OfferStatus{Key: o.Key(), Address: o.Address, Offer: o, Declared: true, Accepted: true, Live: resource.Present,
		Ready: yes(), Sellable: yes(), Conditions: conditions("", "", "")}
	if u := o.Upstream; u.Service != "" {
		st.Upstream = &plan.UpstreamStatus{Namespace: u.Namespace, Name: u.Service, Ready: resource.Present}
	}
	return st
}

// reports are the situations whose screens are kept.
func reports() map[string]plan.Report {
	qwen := sells(inference("qwen", 31))
	qwen.Gateway = runs(4242)

	eu := sells(weather("eu"))
	eu.Drift = []plan.Drift{{Difference: live(priceField("0.5", "0.4")), Class: plan.Money}}
	asia := sells(weather("asia"))
	asia.Upstream.Ready, asia.Upstream.Why = resource.Absent, "Service apps/weather-asia has no ready endpoint"
	us := sells(weather("us"))
	us.Upstream.Ready, us.Upstream.Why = resource.Unknown, `forbidden: user "ana" cannot list endpointslices (see examples/rbac.yaml)`
	us.Drain = &offer.Drain{Key: us.Key, Origin: offer.FromCommand, By: "ana", At: ago(30 * time.Minute), Grace: time.Hour, Reason: "new sensors"}
	us.Ready = no()

	dead := sells(inference("deepseek-r1-distill-70b", 60))
	dead.Ready, dead.Sellable = no(), no()
	dead.Conditions = conditions("UpstreamHealthy", "Unhealthy", "dial tcp 172.18.0.1:8403: connect: connection refused")
	dead.Gateway = &resource.Running{State: resource.GatewayFailed, Supervisor: "systemd", Restarts: 5,
		Last: &resource.Exit{Code: 1, At: ago(time.Minute)}}

	deaf := sells(inference("llama", 70))
	deaf.Ready, deaf.Sellable = no(), no()
	deaf.Gateway = runs(4300)
	deaf.Gateway.Healthy, deaf.Gateway.HealthReason = false, "GET http://127.0.0.1:11434/api/version: connection refused"
	deaf.Gateway.PathSeen = time.Time{}

	notes := sells(&offer.Offer{Address: offer.Address{Type: offer.HTTP, Label: "notes"}, Type: offer.HTTP, Namespace: "default", Name: "notes", Standalone: true,
		Payments: []offer.Payment{payment("base", "USDC", offer.PerRequest, "0.01")}, Upstream: offer.Upstream{URL: "http://127.0.0.1:9000", HealthPath: "/health"},
		Gateway: offer.Gateway{PublicURL: "https://notes.example.org"}})
	notes.Ready, notes.Conditions, notes.Gateway = nil, nil, runs(4500)
	notes.Gateway.Listen, notes.Gateway.PathSeen = []string{"127.0.0.1:8410"}, time.Time{}

	fresh := plan.OfferStatus{Key: inference("phi", 80).Key(), Address: inference("phi", 80).Address, Offer: inference("phi", 80), Declared: true, Live: resource.Absent}
	gone := offer.Address{Type: offer.HTTP, Label: "old-weather"}
	tomb := plan.OfferStatus{Key: offer.Key{Type: offer.HTTP, Namespace: "apps", Name: "old-weather"}, Address: gone, Live: resource.Absent,
		Tombstone: &offer.Tombstone{Origin: offer.FromFile, By: "ana", At: ago(50 * time.Hour), Reason: "replaced by weather", UID: "u-1"}}

	accepted := &plan.Accepted{Number: 7, By: "ana", At: ago(50 * time.Hour), Set: plan.Set{Source: plan.Source{GitCommit: "3f2a9c1d5e6b7a8c"}}}
	base := plan.Report{Site: "home", Cluster: reachable, Accepted: accepted, LastBoot: ago(3 * time.Hour),
		LastConverge: plan.Run{At: ago(5 * time.Minute)}}

	well := base
	well.Offers = []plan.OfferStatus{qwen, sells(weather("us"))}
	bad := base
	bad.LastConverge.Exit = 2
	bad.Offers = []plan.OfferStatus{dead, deaf, qwen, fresh, notes, tomb, asia, eu, us}
	bad.Decisions = []plan.Change{held(updated(weather("eu"), plan.Money, plan.LiveChanged, "kubectl-edit changed it in the cluster",
		live(priceField("0.5", "0.4"))), "obolctl apply --target 'http.weather[\"eu\"]'")}

	private := reachable
	private.PublicURL = ""
	lost := plan.Report{Site: "home", Cluster: private}
	live := sells(weather("eu"))
	live.Accepted = false
	lost.Offers = []plan.OfferStatus{live, fresh}

	chain := sells(inference("chain", 90))
	chain.Gateway, chain.Unregistered = runs(4600), true
	chain.Conditions = conditions("Registered", "AwaitingExternalRegistration", "")
	unregistered := base
	unregistered.Cluster = private
	unregistered.Offers = []plan.OfferStatus{chain}

	blind := base
	blind.Cluster = resource.ClusterSighting{Contacted: true, Context: "k3d-obol-stack", Why: "connection refused"}
	unseen := qwen
	unseen.Live, unseen.Ready, unseen.Sellable, unseen.Conditions = resource.Unknown, nil, nil, nil
	blind.Offers = []plan.OfferStatus{unseen}

	return map[string]plan.Report{"well": well, "bad": bad, "blind": blind, "lost": lost, "unregistered": unregistered, "empty": {Site: "home"}}
}
