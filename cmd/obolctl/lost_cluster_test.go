//go:build cluster

package main_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/obolctl/obolctl/internal/testcluster"
)

// TestRule02_RebuiltFromGitAlone loses state and cluster objects: a declared
// drain and a tombstone hold from the first moment.
func TestRule02_RebuiltFromGitAlone(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("sells", "0.01"), s.weather("drained", "0.01", "drain {\n grace = \"1h\"\n}"),
		"tombstone \"http\" \"gone\" {\n namespace = \""+s.ns+"\"\n}\n")
	s.apply(0)
	for _, name := range []string{"sells", "drained"} {
		s.stranger("kubectl").delete(offers, s.ns, name)
	}
	s.make("gone")
	s.lose()
	same(t, "applied", s.apply(0).lines(), "create ServiceOffer/shop/drained", "create ServiceOffer/shop/sells", "delete ServiceOffer/shop/gone")
	if at, grace := s.drained("drained"); at.IsZero() || grace != "0s" {
		t.Errorf("it was not made drained: %v %q", at, grace)
	}
	if at, _ := s.drained("sells"); !at.IsZero() {
		t.Error("what sells was drained")
	}
	same(t, "afterwards", s.converge(0).lines())
}

// lose removes the site's memory, and with it the gateways' folders.
func (s *seller) lose() {
	s.t.Helper()
	if err := os.RemoveAll(s.folder()); err != nil {
		s.t.Fatal(err)
	}
}

// TestRule11_LostStateLosesNothing removes the state while everything sells:
// what is live is known by its label, drains by themselves, and the gateways
// that run are found again.
func TestRule11_LostStateLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"), s.notes("notes"), s.weather("weather", "0.01"))
	s.apply(0)
	s.must(0, "drain", "http.weather", "--grace", "30m")
	at, _ := s.drained("weather")
	uid := s.offer("qwen").GetUID()
	s.lose()
	same(t, "applied", s.apply(0).lines(), "restart Gateway/shop/notes", "restart Gateway/shop/qwen")
	if n := s.gateways(); n != 2 || !s.answers("qwen") || !s.answers("notes") {
		t.Errorf("%d gateways run", n)
	}
	if again, _ := s.drained("weather"); !again.Equal(at) || s.offer("qwen").GetUID() != uid {
		t.Error("an offer was made anew, or sells again")
	}
	contains(t, s.must(0, "state", "show").stdout, "weather")
	same(t, "afterwards", s.apply(0).lines())
	s.must(0, "undrain", "http.weather")
}

// TestRule12_AssignedPortsSurviveLostState has a gateway whose port nobody
// declares.
func TestRule12_AssignedPortsSurviveLostState(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	block := strings.Replace(s.model("qwen", "0.5"), "listen = "+itoa(s.port("qwen")), "", 1)
	s.declare(block)
	s.apply(0)
	port := s.listens()
	s.lose()
	s.apply(0)
	if again := s.listens(); again != port || s.gateways() != 1 {
		t.Errorf("it listened at %v, and listens at %v", port, again)
	}
	same(t, "afterwards", s.apply(0).lines())
}

// listens gives the port to which the Service of qwen leads.
func (s *seller) listens() any {
	s.t.Helper()
	ports, _ := s.stranger("reader").get(endpoints, s.ns, "qwen").Object["ports"].([]any)
	if len(ports) != 1 {
		s.t.Fatalf("ports %v", ports)
	}
	return ports[0].(map[string]any)["port"]
}

// TestRule07_AGatewayThatNobodyKnows lost its folder, and is neither declared
// nor accepted: it holds its port until a person lets it go.
func TestRule07_AGatewayThatNobodyKnows(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("weather", "0.01"), s.model("qwen", "0.5"), s.notes("notes"))
	s.apply(0)
	s.lose()
	s.env = append(s.env, "OBOLCTL_SITE="+s.ns, "KUBECONFIG="+s.cluster.Kubeconfig())
	s.converge(2)
	if s.gateways() != 2 {
		t.Errorf("%d gateways run: nobody said that they may not", s.gateways())
	}
	s.declare(s.weather("weather", "0.01"))
	r := s.apply(2)
	same(t, "withheld", r.lines(), "withheld delete inference.qwen: foreign, destructive", "withheld delete shop/notes: foreign, destructive")
	if s.gateways() != 2 || s.offer("qwen") == nil {
		t.Error("withheld, and done")
	}
	same(t, "approved", s.apply(0, "--approve", "destructive", "--approve-deletes", "2").lines(),
		"delete EndpointSlice/shop/qwen", "delete Gateway/shop/notes", "delete Gateway/shop/qwen", "delete Service/shop/qwen", "delete ServiceOffer/shop/qwen")
	if s.gateways() != 0 || s.offer("qwen") != nil {
		t.Errorf("%d gateways are left", s.gateways())
	}
	same(t, "afterwards", s.apply(0).lines())
}

// TestRule07_AGatewayThatLostItsFolder is known to be accepted, and is replaced.
func TestRule07_AGatewayThatLostItsFolder(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.apply(0)
	if err := os.RemoveAll(filepath.Join(s.folder(), "gateways")); err != nil {
		t.Fatal(err)
	}
	s.must(3, "status", "--check")
	s.converge(0)
	if n := s.gateways(); n != 1 || !s.answers("qwen") {
		t.Errorf("%d gateways run", n)
	}
	s.must(0, "status", "--check")
	same(t, "afterwards", s.apply(0).lines())
}

// upgraded is the same program, built as another version.
var upgraded = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "upgraded")
	return path, exec.Command("go", "build", "-ldflags", "-X main.version=1.2.4", "-o", path, ".").Run()
})

// TestRule10_AnUpgradeRestartsNothingByItself runs another version on the
// gateways of the one before.
func TestRule10_AnUpgradeRestartsNothingByItself(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.model("qwen", "0.5"))
	s.apply(0)
	before := gatewaysBelow(t, s.dir)
	exe, err := upgraded()
	if err != nil {
		t.Fatal(err)
	}
	s.exe = exe
	p := s.plan(0)
	same(t, "planned", p.lines(), "restart inference.qwen: upgraded, config")
	contains(t, p.why("inference.qwen"), "1.2.3", "1.2.4")
	same(t, "converged", s.converge(2).lines(), "withheld restart inference.qwen: upgraded, config")
	same(t, "applied", s.apply(2).lines(), "withheld restart inference.qwen: upgraded, config")
	same(t, "processes", pids(gatewaysBelow(t, s.dir)), pids(before)...)
	same(t, "approved", s.apply(0, "--approve", "config").lines(), "restart Gateway/shop/qwen")
	if n := s.gateways(); n != 1 || !s.answers("qwen") {
		t.Errorf("%d gateways run", n)
	}
	killGateways(t, s.dir)
	same(t, "a crash after the upgrade", s.converge(0).lines(), "start Gateway/shop/qwen")
}

func pids(all []int) []string {
	var out []string
	for _, pid := range all {
		out = append(out, itoa(pid))
	}
	return out
}

// TestRule05_NoWalletIsMintedOrOrphaned has an agent without a keystore, one
// whose wallet changes, and one that is gone.
func TestRule05_NoWalletIsMintedOrOrphaned(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	name := s.ns + "-q"
	ns := "agent-" + name
	s.declare(quant(name))
	mark := shared.Mark(t)
	address := "agent.shop-q"
	r := s.apply(2, "--approve", "money,config,takeover,revive")
	same(t, "no agent", r.lines(), "withheld create "+address+": agent_wallet, money")
	contains(t, r.said(), "there is no agent shop-q")
	contains(t, s.must(0, "plan").stdout, "there is no agent "+name)
	contains(t, s.must(0, "history").stdout, "there is no agent "+name)
	next := strings.ReplaceAll(*s.plan(0).Changes[0].Next, "shop", s.ns)
	s.must(2, append(strings.Fields(next)[1:], "--auto-approve")...) // it can be typed
	stack := s.stranger("obol-cli")
	if stack.get(namespaces, "", ns) != nil {
		t.Error("a namespace was made for an offer that is not")
	}

	s.agent(name, wallet)
	s.apply(0)
	paid := func() any {
		payment, _ := stack.get(offers, ns, name).Object["spec"].(map[string]any)["payment"].(map[string]any)
		return payment["payTo"]
	}
	if paid() != wallet {
		t.Fatalf("paid is %v", paid())
	}

	stack.patch(secrets, ns, "remote-signer-keystore", map[string]any{"metadata": map[string]any{"annotations": map[string]any{"obol.org/wallet-address": thief}}})
	stack.patch(agents, ns, name, map[string]any{"status": map[string]any{"walletAddress": thief}}, "status")
	c := s.converge(2)
	same(t, "another wallet", c.lines(), "withheld update "+address+": agent_wallet, money")
	contains(t, c.said(), thief, wallet)
	s.apply(2, "--approve", "config,takeover,revive")
	if paid() != wallet {
		t.Errorf("paid is %v", paid())
	}
	contains(t, s.must(0, "status", "agent."+name).stdout, "has wallet "+thief+" now", "live \""+wallet+"\" agent \""+thief+"\"")
	if out := s.must(0, "status", "--json").stdout; strings.Contains(out, `"accepted": "`+thief) {
		t.Errorf("nobody accepted that wallet:\n%s", out)
	}

	stack.delete(secrets, ns, "remote-signer-keystore")
	for _, r := range []ran{s.converge(2), s.apply(2, "--approve", "money,config")} {
		same(t, "no keystore", r.lines(), "withheld update "+address+": agent_wallet, money")
		contains(t, r.said(), "no keystore")
	}
	contains(t, s.must(0, "status", "agent."+name).stdout, "no keystore", "next: obolctl apply --target agent."+name)
	stack.delete(offers, ns, name)
	same(t, "no keystore and no offer", s.apply(2, "--approve", "money,config,revive").lines(), "withheld create "+address+": agent_wallet, money")
	if stack.get(offers, ns, name) != nil {
		t.Error("it sells, and nobody could ever spend it")
	}
	for _, r := range shared.Audit(t, mark, "obolctl/") {
		if strings.Contains(r.URI, s.ns) && (r.Resource == "agents" || r.Resource == "secrets") && r.Verb != "get" && r.Verb != "list" {
			t.Errorf("%s %s", r.Verb, r.URI)
		}
	}
}

// TestRule05_AWalletThatNobodySaw applies an agent's offer while the cluster is out
// of sight, and the agent is there only later: nobody agreed to its wallet.
func TestRule05_AWalletThatNobodySaw(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	agent := s.ns + "-unseen"
	s.declare(s.weather("weather", "0.01"))
	s.apply(0)
	s.declare(s.weather("weather", "0.01"), quant(agent))
	s.must(1, "--kubeconfig", "/nope", "apply", "--auto-approve", "--approve", "config,money,destructive,revive,takeover,restore")
	s.agent(agent, thief)
	s.converge(2)
	if s.stranger("obol-cli").get(offers, "agent-"+agent, agent) != nil {
		t.Error("converge sells it, to a wallet that nobody agreed to")
	}
	s.apply(2)
	s.apply(0, "--approve", "money")
	if to, _, _ := unstructured.NestedString(s.stranger("obol-cli").get(offers, "agent-"+agent, agent).Object, "spec", "payment", "payTo"); to != thief {
		t.Errorf("it pays %q", to)
	}
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule05_APinnedWallet is in git, and beats what the agent says.
func TestRule05_APinnedWallet(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	name := s.ns + "-q"
	s.agent(name, thief)
	s.declare(quant(name, "agent_wallet = \""+wallet+"\""))
	r := s.apply(2)
	same(t, "applied", r.lines(), "withheld create agent.shop-q: agent_wallet, money")
	contains(t, r.said(), wallet, thief)
	if s.stranger("reader").get(offers, "agent-"+name, name) != nil {
		t.Error("it sells to another wallet")
	}
}

// TestRule12_ForgetDestroyHistory is how a site ends.
func TestRule12_ForgetDestroyHistory(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01"), s.model("b", "0.5"), s.notes("c"))
	s.apply(0)
	s.must(0, "drain", "http.a")
	s.must(0, "undrain", "http.a")
	killGateways(t, s.dir)
	s.must(0, "plan") // which sees it, and is no run
	s.must(3, "status", "--check")
	s.converge(0)
	history := s.must(0, "history").stdout
	contains(t, history, "http.a", "inference.b", "accepted")
	if strings.Contains(s.must(0, "history", "inference.b").stdout, "http.a") {
		t.Error("the history of one offer tells of another")
	}

	uid := s.offer("a").GetUID()
	s.must(0, "forget", "http.a")
	if o := s.offer("a"); o == nil || o.GetUID() != uid || o.GetLabels()["offers.obolctl.io/site"] != "" || len(o.GetAnnotations()) != 0 || s.price("a") != "0.01" {
		t.Errorf("forgotten: %v", o)
	}
	same(t, "its offer is foreign", s.plan(0).lines(), "takeover http.a: foreign, takeover")

	s.must(64, "destroy")
	s.must(1, "destroy", "--auto-approve")
	s.must(0, "destroy", "--auto-approve", "--approve-deletes", "2")
	reader := s.stranger("reader")
	if s.offer("a") == nil || s.offer("b") != nil || s.gateways() != 0 || reader.get(services, s.ns, "b") != nil {
		t.Error("not what destroy leaves")
	}
	same(t, "afterwards", s.converge(0).lines())
}

// TestRule12_AcceptedSetsAreGoneBackTo applies an older accepted set.
func TestRule12_AcceptedSetsAreGoneBackTo(t *testing.T) {
	t.Parallel()
	s := newSeller(t, shared)
	s.declare(s.weather("a", "0.01"))
	s.apply(0)
	s.declare(s.weather("a", "0.02"))
	s.apply(0)
	same(t, "back", s.apply(0, "--accepted", "1").lines(), "update ServiceOffer/shop/a")
	if s.price("a") != "0.01" {
		t.Errorf("the price is %v", s.price("a"))
	}
	s.must(1, "apply", "--auto-approve", "--accepted", "77")
}

// alone keeps tests that need a sandbox of their own from running at once: each
// costs 400 MB.
var alone sync.Mutex

func ownCluster(t *testing.T) *testcluster.Cluster {
	t.Helper()
	alone.Lock()
	t.Cleanup(alone.Unlock)
	return testcluster.Start(t)
}

// TestRule03_ARebuiltCluster loses everything: it comes back as it was accepted,
// drained where it was, but for a price that somebody had changed before.
func TestRule03_ARebuiltCluster(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := newSeller(t, c)
	s.declare(s.model("qwen", "0.5"), s.weather("drained", "0.01"), s.weather("live", "0.01"), s.weather("repriced", "0.01"), s.weather("a", "0.01"), s.weather("gone", "0.01"))
	s.apply(0)
	s.must(0, "drain", "http.drained", "--grace", "1h")
	at, _ := s.drained("drained")
	s.stranger("obol-cli").patch(offers, s.ns, "live", map[string]any{"spec": map[string]any{"drainAt": "2026-01-02T03:04:05Z"}})
	s.runs(0, "delete", "http.gone", "--auto-approve")
	s.reprice("repriced")
	s.converge(2)

	c.Wipe(t)
	bindRole(t, c)
	r := s.converge(2)
	same(t, "converged", r.lines(), "create EndpointSlice/shop/qwen", "create Namespace/shop", "create Service/shop/qwen",
		"create ServiceOffer/shop/a", "create ServiceOffer/shop/drained", "create ServiceOffer/shop/live", "create ServiceOffer/shop/qwen",
		"withheld create http.repriced: cluster_rebuilt, money")
	contains(t, r.said(), "kubectl-edit", "neither is ours to choose")
	if again, grace := s.drained("drained"); !again.Equal(at) || grace != "0s" {
		t.Errorf("drained at %v %q, was %v", again, grace, at)
	}
	if at, grace := s.drained("live"); at.IsZero() || grace != "0s" {
		t.Errorf("live drain: %v %q", at, grace)
	}
	if s.offer("repriced") != nil || s.offer("gone") != nil || s.gateways() != 1 {
		t.Error("it sells what nobody agreed to")
	}
	same(t, "again", s.converge(2).lines(), "withheld create http.repriced: cluster_rebuilt, money")
	same(t, "applied", s.apply(2).lines(), "withheld create http.repriced: cluster_rebuilt, money")
	same(t, "approved", s.apply(0, "--approve", "money").lines(), "create ServiceOffer/shop/repriced")
	if s.price("repriced") != "0.01" {
		t.Errorf("the price is %v", s.price("repriced"))
	}
	s.make("gone")
	same(t, "deleted again", s.converge(0).lines(), "delete ServiceOffer/shop/gone")

	// What the cluster knows of offers changes in place.
	admin := s.stranger("kubectl")
	admin.forgetField("provenance")
	s.declare(s.weather("a", "0.01"), s.weather("proven", "0.01", "provenance = { source = \"field\" }"),
		s.model("qwen", "0.5"), s.weather("drained", "0.01"), s.weather("live", "0.01"), s.weather("repriced", "0.01"))
	until(t, func() bool { return strings.Contains(s.run("plan").String(), "provenance") })
	p := s.plan(4, "--detailed-exitcode")
	contains(t, p.why("http.proven"), "spec.provenance", "ServiceOffer/shop/proven")
	s.apply(1)
	if s.offer("proven") != nil {
		t.Error("it was made without what the cluster does not know")
	}
	admin.delete(crds, "", "serviceoffers.obol.org")
	until(t, func() bool {
		return strings.Contains(s.run("plan").String(), "no ServiceOffer") || s.run("plan").code == 1
	})
	out := s.must(1, "apply", "--auto-approve")
	contains(t, out.String(), "ServiceOffer")
	s.must(1, "converge", "--wait-api", "5s")
}

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// forgetField takes a field out of what the cluster knows of ServiceOffers.
func (s stranger) forgetField(name string) {
	s.t.Helper()
	crd := s.get(crds, "", "serviceoffers.obol.org")
	versions, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	if err != nil {
		s.t.Fatal(err)
	}
	unstructured.RemoveNestedField(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties", name)
	if err := unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions"); err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.client.Resource(crds).Update(context.Background(), crd, metav1.UpdateOptions{}); err != nil {
		s.t.Fatal(err)
	}
}

// TestRule10_NoAPIServer starts what the host can do alone, and exits 75; later
// pods reach the host at another address, and everything follows.
func TestRule10_NoAPIServer(t *testing.T) {
	t.Parallel()
	c := ownCluster(t)
	s := newSeller(t, c)
	s.declare(s.model("qwen", "0.5"), s.weather("weather", "0.01"))
	s.apply(0)
	killGateways(t, s.dir)
	c.Down(t)
	s.must(75, "converge", "--wait-api", "1s")
	if !s.answers("qwen") {
		t.Error("its gateway does not answer")
	}
	s.must(1, "plan")
	s.must(1, "status", "--check")
	s.must(1, "apply", "--auto-approve")
	s.must(1, "drain", "http.weather", "--now") // remembered, and enforced when it can be
	c.Up(t)
	same(t, "converged", s.converge(0).lines(), "drain ServiceOffer/shop/weather")

	s.stranger("k3d").patch(configmaps, "kube-system", "coredns", map[string]any{"data": map[string]any{"NodeHosts": "203.0.113.9 host.k3d.internal\n"}})
	before := gatewaysBelow(t, s.dir)
	same(t, "planned", s.plan(3, "--detailed-exitcode").lines(), "update inference.qwen: address_changed, restore")
	same(t, "converged", s.converge(0).lines(), "reload Gateway/shop/qwen", "update EndpointSlice/shop/qwen")
	contains(t, show(s.stranger("reader").get(endpoints, s.ns, "qwen")), "203.0.113.9")
	same(t, "processes", pids(gatewaysBelow(t, s.dir)), pids(before)...)
	same(t, "afterwards", s.converge(0).lines())

	// Another cluster is not a rebuilt one.
	elsewhere := []string{"--kubeconfig", shared.Kubeconfig()}
	contains(t, s.must(1, append([]string{"converge", "--wait-api", "5s"}, elsewhere...)...).stderr, "another cluster")
	r := s.apply(2, elsewhere...)
	same(t, "applied", r.lines(), "withheld create http.weather: other_cluster, takeover", "withheld create inference.qwen: other_cluster, takeover")
	if s.gateways() != 1 || s.stranger("reader").get(offers, s.ns, "weather") == nil || newStranger(t, shared, "reader").get(offers, s.ns, "weather") != nil {
		t.Error("it was moved")
	}
	same(t, "the accepted one", s.converge(0).lines())
}
