//go:build cluster

package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/obolctl/obolctl/internal/testcluster"
)

const (
	wallet = "0x52908400098527886E0F7030069857D2E4169EE7"
	thief  = "0x8617E340B3D01FA5F11F306F4090FD50E238070D"
)

// A seller is an operator with a site and a namespace of their own, who has the
// rights of examples/rbac.yaml and no others. In what is parsed here of the
// output, the namespace is called shop.
type seller struct {
	*operator
	cluster *testcluster.Cluster
	ns      string // of their offers; also the site's name
	ports   map[string]int
}

var sellers atomic.Int64

func newSeller(t testing.TB, c *testcluster.Cluster) *seller {
	t.Helper()
	bindRole(t, c)
	return &seller{newOperator(t), c, fmt.Sprintf("shop-%03d", sellers.Add(1)), map[string]int{}}
}

// bindRole gives user obolctl the rights that are offered to operators.
func bindRole(t testing.TB, c *testcluster.Cluster) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "examples", "rbac.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	admin := newStranger(t, c, "kubectl")
	for _, doc := range strings.Split(string(data), "\n---") {
		var o unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(doc), &o.Object); err != nil {
			t.Fatal(err)
		}
		r := schema.GroupVersionResource{Group: "rbac.authorization.k8s.io", Version: "v1", Resource: strings.ToLower(o.GetKind()) + "s"}
		_, err := admin.client.Resource(r).Namespace(o.GetNamespace()).Create(context.Background(), &o, metav1.CreateOptions{})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
	}
}

// stranger is another program at work in the seller's cluster.
func (s *seller) stranger(manager string) stranger { return newStranger(s.t, s.cluster, manager) }

// declare writes the offers file: which site and cluster, what all offers have,
// and the blocks.
func (s *seller) declare(blocks ...string) {
	s.t.Helper()
	head := fmt.Sprintf(`
obolctl {
  site = %q
}
cluster {
  kubeconfig = %q
  context    = "obolctl"
}
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = %q
  }
}
`, s.ns, s.cluster.Kubeconfig(), wallet)
	s.write("offers.hcl", head+strings.Join(blocks, "\n"))
}

// weather is an offer of a Service in the cluster.
func (s *seller) weather(name, price string, lines ...string) string {
	return fmt.Sprintf("http %q {\n  namespace = %q\n  price     = { per_request = %q }\n\n  upstream {\n    service = \"weather\"\n    port    = 8080\n  }\n%s\n}\n",
		name, s.ns, price, strings.Join(lines, "\n"))
}

// stock makes the Service that weather's offers sell, as somebody answers it.
func (s *seller) stock() {
	s.t.Helper()
	who := s.stranger("helm")
	who.create(services, map[string]any{"apiVersion": "v1", "kind": "Service", "metadata": map[string]any{"name": "weather", "namespace": s.ns},
		"spec": map[string]any{"ports": []any{map[string]any{"port": int64(8080)}}}})
	who.create(endpoints, map[string]any{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata":  map[string]any{"name": "weather-1", "namespace": s.ns, "labels": map[string]any{"kubernetes.io/service-name": "weather"}},
		"endpoints": []any{map[string]any{"addresses": []any{"203.0.113.1"}, "conditions": map[string]any{"ready": true}}},
		"ports":     []any{map[string]any{"port": int64(8080)}}})
}

// model is an offer with a gateway on this host.
func (s *seller) model(name, price string) string {
	return fmt.Sprintf("inference %q {\n  namespace = %q\n  model     = \"qwen\"\n  upstream  = %q\n  price     = { per_mtok = %q }\n\n  gateway {\n    listen = %d\n  }\n}\n",
		name, s.ns, upstream(), price, s.port(name))
}

// notes is an offer that needs no cluster.
func (s *seller) notes(name string) string {
	return fmt.Sprintf("http %q {\n  namespace  = %q\n  standalone = true\n  price      = { per_request = \"0.01\" }\n\n  upstream {\n    url = %q\n  }\n  gateway {\n    listen     = %d\n    public_url = \"http://127.0.0.1:%d\"\n  }\n}\n",
		name, s.ns, upstream(), s.port(name), s.port(name))
}

// port gives a port of the seller's own for a gateway.
func (s *seller) port(name string) int {
	s.t.Helper()
	if s.ports[name] == 0 {
		s.ports[name] = nextPort(s.t)
	}
	return s.ports[name]
}

var lastPort atomic.Int32

// nextPort gives a port on which nobody listens, each only once: below those
// that the kernel gives to clients.
func nextPort(t testing.TB) int {
	t.Helper()
	lastPort.CompareAndSwap(0, 14000+rand.Int32N(10000))
	for {
		port := int(lastPort.Add(1))
		l, err := net.Listen("tcp", "127.0.0.1:"+itoa(port))
		if err != nil {
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
}

// A planned is what plan --json says.
type planned struct {
	Complete bool
	Summary  map[string]int
	Changes  []struct {
		Address, Action, Class, Cause, Why string
		Withheld                           bool
		Next                               *string
		Steps                              []struct {
			ID, Action string
			Fields     []field
		}
	}
}

type field struct {
	Path          string
	Before, After any
	Writer        *string
	WrittenAt     *time.Time `json:"written_at"`
}

// plan plans, and expects the exit code.
func (s *seller) plan(code int, args ...string) planned {
	s.t.Helper()
	var p planned
	out := s.must(code, append([]string{"plan", "--json"}, args...)...).stdout
	if err := json.Unmarshal([]byte(strings.ReplaceAll(out, s.ns, "shop")), &p); err != nil {
		s.t.Fatalf("%v in:\n%s", err, out)
	}
	return p
}

// lines says what changes and why, one line for each.
func (p planned) lines() []string {
	out := []string{}
	for _, c := range p.Changes {
		out = append(out, fmt.Sprintf("%s %s: %s, %s", c.Action, c.Address, c.Cause, c.Class))
	}
	return out
}

// why gives what a plan says of one offer.
func (p planned) why(address string) string {
	var out []string
	for _, c := range p.Changes {
		if c.Address == address {
			out = append(out, c.Why)
		}
	}
	return strings.Join(out, "; ")
}

// field finds a field that a plan changes.
func (p planned) field(path string) (field, bool) {
	for _, c := range p.Changes {
		for _, st := range c.Steps {
			for _, f := range st.Fields {
				if f.Path == path {
					return f, true
				}
			}
		}
	}
	return field{}, false
}

// An event is one line of apply --json or converge --json.
type event struct {
	Event, Address, ID, Action, Class, Cause, Why, Error string
	Next                                                 *string
	Failed, Writes                                       int
	Complete                                             bool
	Requests                                             map[string]int
	UnchangedDigest                                      *string `json:"unchanged_digest"`
}

// A ran is what a run said of itself.
type ran struct {
	events []event
	result
}

// runs runs apply, converge or what is like them, and expects the exit code.
func (s *seller) runs(code int, args ...string) ran {
	s.t.Helper()
	r := ran{result: s.must(code, append(args, "--json")...)}
	for line := range strings.Lines(strings.ReplaceAll(r.stdout, s.ns, "shop")) {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatalf("%v in:\n%s", err, line)
		}
		r.events = append(r.events, e)
	}
	return r
}

// apply is what a pipeline does.
func (s *seller) apply(code int, args ...string) ran {
	s.t.Helper()
	return s.runs(code, append([]string{"apply", "--auto-approve"}, args...)...)
}

func (s *seller) converge(code int) ran {
	s.t.Helper()
	return s.runs(code, "converge", "--wait-api", "2s") // most have no controller to wait for
}

// lines says what was done, what failed and what was withheld, sorted.
func (r ran) lines() []string {
	out := []string{}
	for _, e := range r.events {
		switch e.Event {
		case "step_done":
			out = append(out, e.Action+" "+e.ID)
		case "step_failed":
			out = append(out, "failed to "+e.Action+" "+e.ID)
		case "withheld":
			out = append(out, fmt.Sprintf("withheld %s %s: %s, %s", e.Action, e.Address, e.Cause, e.Class))
		}
	}
	slices.Sort(out)
	return out
}

// said gives the reasons and errors that a run told.
func (r ran) said() string {
	var out []string
	for _, e := range r.events {
		out = append(out, e.Why, e.Error)
	}
	return strings.Join(out, "\n")
}

func (r ran) summary(t testing.TB) event {
	t.Helper()
	if len(r.events) == 0 || r.events[len(r.events)-1].Event != "summary" {
		t.Fatalf("no summary in %s", r)
	}
	return r.events[len(r.events)-1]
}

// same compares lines.
func same(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// contains checks that a text has all the pieces, wherever its lines break.
func contains(t testing.TB, text string, pieces ...string) {
	t.Helper()
	flat := strings.Join(strings.Fields(text), " ")
	for _, p := range pieces {
		if !strings.Contains(flat, p) && !strings.Contains(text, p) {
			t.Errorf("%q is not in:\n%s", p, text)
		}
	}
}

// live reads a field of the seller's offer, nil when there is none.
func (s *seller) live(name string, path ...string) any {
	s.t.Helper()
	o := s.offer(name)
	if o == nil {
		return nil
	}
	v, _, err := unstructured.NestedFieldNoCopy(o.Object, path...)
	if err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *seller) offer(name string) *unstructured.Unstructured {
	s.t.Helper()
	return s.stranger("reader").get(offers, s.ns, name)
}

func (s *seller) price(name string) any {
	s.t.Helper()
	return s.live(name, "spec", "payment", "price", "perRequest")
}

// gateways counts the gateway processes of the seller that run.
func (s *seller) gateways() int { s.t.Helper(); return len(gatewaysBelow(s.t, s.dir)) }

// answers reports whether the gateway of an offer says, within 5 s, that it is
// healthy: it asks its upstream for the first time when it starts.
func (s *seller) answers(name string) bool {
	s.t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/health", s.port(name)))
		if err != nil {
			continue
		}
		if err := resp.Body.Close(); err != nil {
			s.t.Fatal(err)
		}
		if resp.StatusCode == http.StatusOK {
			return true
		}
	}
	return false
}

// folder is where the site's memory is.
func (s *seller) folder() string { return filepath.Join(s.dir, "state", "obolctl", s.ns) }

// walk visits all files of the operator.
func (s *seller) walk(visit func(path string, info os.FileInfo)) {
	s.t.Helper()
	err := filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil {
			visit(path, info)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// files gives the content of the operator's files, but for those below a folder.
func (s *seller) files(but string) []string {
	s.t.Helper()
	var out []string
	s.walk(func(path string, info os.FileInfo) {
		if !info.Mode().IsRegular() || strings.HasPrefix(path, but+"/") {
			return
		}
		data, err := os.ReadFile(path)
		if err != nil {
			s.t.Fatal(err)
		}
		out = append(out, path+"\n"+string(data))
	})
	return out
}

// tree tells of all files of the operator what would show that they were
// written.
func (s *seller) tree() []string {
	s.t.Helper()
	var out []string
	s.walk(func(path string, info os.FileInfo) {
		if filepath.Base(path) != "gateway.log" {
			out = append(out, fmt.Sprint(path, info.Mode(), info.Size(), info.ModTime()))
		}
	})
	return out
}

// agent makes an Agent with a wallet, as the stack does.
func (s *seller) agent(name, address string) {
	s.t.Helper()
	stack, ns := s.stranger("obol-cli"), "agent-"+name
	stack.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": ns}})
	stack.create(agents, map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "Agent",
		"metadata": map[string]any{"name": name, "namespace": ns},
		"spec":     map[string]any{"runtime": "hermes", "model": "qwen3:0.6b", "wallet": map[string]any{"create": true}}})
	stack.patch(agents, ns, name, map[string]any{"status": map[string]any{"phase": "Ready", "walletAddress": address}}, "status")
	stack.create(secrets, map[string]any{"apiVersion": "v1", "kind": "Secret",
		"metadata":   map[string]any{"name": "remote-signer-keystore", "namespace": ns, "annotations": map[string]any{"obol.org/wallet-address": address}},
		"stringData": map[string]any{"keystore.json": "the-key-itself"}})
}

func quant(name string, lines ...string) string {
	return fmt.Sprintf("agent %q {\n  pay_to = \"agent\"\n  price  = { per_request = \"0.1\" }\n\n  payment {\n    network = \"base-sepolia\"\n  }\n%s\n}\n", name, strings.Join(lines, "\n"))
}

// serve starts a server that is told the secrets of each request but those for
// its health.
func serve(t testing.TB, told func(secrets string)) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/asked" {
			told(r.Header.Get("Authorization") + " " + r.Header.Get("X-Key"))
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// ask asks the gateway of an offer, and gives what its upstream was told.
func (s *seller) ask(name string, told <-chan string) string {
	s.t.Helper()
	resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/asked", s.port(name)))
	if err != nil {
		s.t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		s.t.Fatal(err)
	}
	select {
	case h := <-told:
		return h
	default:
		s.t.Fatalf("the upstream was not asked: %s", resp.Status)
		return ""
	}
}

// occupy listens on a port of this host until it is told to stop.
func occupy(t testing.TB, port int) (stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	return sync.OnceFunc(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

var (
	policies = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicies"}
	bindings = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingadmissionpolicybindings"}
)

// refuse makes the seller's namespace, in which admission refuses the creation
// of an offer, and returns when that is in force. Allow takes it back.
func (s *seller) refuse(name string) {
	s.t.Helper()
	admin, id := s.stranger("kubectl"), s.ns+"-"+name
	admin.create(namespaces, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": s.ns}})
	rule := map[string]any{"apiGroups": []any{"obol.org"}, "apiVersions": []any{"*"}, "operations": []any{"CREATE"}, "resources": []any{"serviceoffers"}}
	admin.create(policies, map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
		"metadata": map[string]any{"name": id},
		"spec": map[string]any{"matchConstraints": map[string]any{"resourceRules": []any{rule}},
			"validations": []any{map[string]any{"expression": fmt.Sprintf("object.metadata.namespace != %q || object.metadata.name != %q", s.ns, name), "message": "the sandbox says no"}}}})
	admin.create(bindings, map[string]any{"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
		"metadata": map[string]any{"name": id}, "spec": map[string]any{"policyName": id, "validationActions": []any{"Deny"}}})
	s.admits(name, false)
}

func (s *seller) allow(name string) {
	s.t.Helper()
	admin := s.stranger("kubectl")
	admin.delete(bindings, "", s.ns+"-"+name)
	admin.delete(policies, "", s.ns+"-"+name)
	s.admits(name, true)
}

// admits waits until an offer would be admitted, or would not be any more.
func (s *seller) admits(name string, want bool) {
	s.t.Helper()
	admin := s.stranger("kubectl")
	probe := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer",
		"metadata": map[string]any{"name": name, "namespace": s.ns},
		"spec":     map[string]any{"type": "http", "payment": map[string]any{"network": "base-sepolia", "payTo": wallet, "price": map[string]any{"perRequest": "1"}}}}}
	until(s.t, func() bool {
		_, err := admin.client.Resource(offers).Namespace(s.ns).Create(context.Background(), probe, metav1.CreateOptions{DryRun: []string{"All"}})
		return want != (err != nil && strings.Contains(err.Error(), "the sandbox says no"))
	})
}

// until waits for what another process brings about.
func until(t testing.TB, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about within 20 s")
		}
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

func show(o any) string { return fmt.Sprint(o) }
