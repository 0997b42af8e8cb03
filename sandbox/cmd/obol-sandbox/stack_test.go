package main_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/address"
	"github.com/obolctl/obolctl/sandbox/internal/node"
)

// A whole is a sandbox with a stack, seen from inside its cluster and from outside.
type whole struct {
	sandbox
	client.Client
	web *http.Client // as a pod
}

func newWhole(t *testing.T, flags ...string) whole {
	t.Helper()
	w := whole{sandbox: newSandbox(t)}
	w.must("up", append([]string{"--detach"}, flags...)...)
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.Client, err = client.New(w.config(""), client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	edge, err := url.Parse(w.description().Edge)
	if err != nil {
		t.Fatal(err)
	}
	port, err := strconv.Atoi(edge.Port())
	if err != nil {
		t.Fatal(err)
	}
	dialer := node.NewDialer(w.Client, address.For(port))
	w.web = &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
	return w
}

func (w whole) create(o client.Object) {
	w.Helper()
	if err := w.Client.Create(w.Context(), o); err != nil {
		w.Fatal(err)
	}
}

// until waits for something that the sandbox does by itself.
func (w whole) until(what string, is func(context.Context) bool) {
	w.Helper()
	for end := time.Now().Add(30 * time.Second); !is(w.Context()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("never: %s", what)
		}
	}
}

// ask asks a Service as a pod does.
func (w whole) ask(url string) (string, error) {
	resp, err := w.web.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return fmt.Sprintf("%d %s", resp.StatusCode, strings.TrimSpace(string(body))), err
}

// untilAsked waits until a Service answers so; empty: until it refuses.
func (w whole) untilAsked(url, want string) {
	w.Helper()
	w.until(fmt.Sprintf("%s answers %q", url, want), func(context.Context) bool {
		got, err := w.ask(url)
		return want != "" && got == want || want == "" && errors.Is(err, syscall.ECONNREFUSED)
	})
}

// slices gives the EndpointSlices of a Service in namespace llm.
func (w whole) slices(ctx context.Context, service string) []discoveryv1.EndpointSlice {
	w.Helper()
	var all discoveryv1.EndpointSliceList
	if err := w.List(ctx, &all, client.InNamespace("llm"), client.MatchingLabels{discoveryv1.LabelServiceName: service}); err != nil {
		w.Fatal(err)
	}
	return all.Items
}

// listed is the names in the catalog.
func (w whole) listed() []string {
	w.Helper()
	resp, err := http.Get(w.description().Edge + "/api/services.json")
	if err != nil {
		w.Fatal(err)
	}
	defer resp.Body.Close()
	var catalog struct{ Services []struct{ Name string } }
	if err := json.NewDecoder(resp.Body).Decode(&catalog); err != nil {
		w.Fatal(err)
	}
	names := []string{}
	for _, s := range catalog.Services {
		names = append(names, s.Name)
	}
	return names
}

func (w whole) untilListed(want ...string) {
	w.Helper()
	w.until(fmt.Sprintf("the catalog lists %q", want), func(context.Context) bool {
		return cmp.Equal(w.listed(), append([]string{}, want...))
	})
}

func named(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

// TestAnOfferFromNothingToPaid goes the whole way with real processes, through
// a reboot, a dead stack and a new cluster.
func TestAnOfferFromNothingToPaid(t *testing.T) {
	t.Parallel()
	w := newWhole(t)
	w.checkBaseObjects()
	w.untilListed()
	if out := w.must("upstream", "-n", "shop", "--port", "80", "tea"); out != "Service shop/tea answers at port 80\n" {
		t.Errorf("upstream says %q", out)
	}
	w.untilAsked("http://tea.shop.svc/healthz", `200 {"service":"shop/tea","method":"GET","path":"/healthz"}`)
	w.create(tea())
	w.untilListed("tea")
	shop := w.description().Edge + "/services/tea/cup"
	resp, err := http.Get(shop)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusPaymentRequired {
		t.Errorf("without a payment: %s", resp.Status)
	}
	if out := w.must("buy", shop); !strings.Contains(out, `"service":"shop/tea"`) || !strings.Contains(out, `"payer":"0x`) {
		t.Errorf("buy says %s", out)
	}

	w.must("down")
	w.must("up", "--detach")
	w.untilListed("tea")
	w.must("buy", shop)

	kill(t, w.description().PIDs["stack"])
	w.must("up", "--detach")
	w.untilListed("tea")
	w.must("buy", shop)

	if out := w.must("upstream", "-n", "shop", "--port", "80", "--stop", "tea"); out != "Service shop/tea does not answer at port 80\n" {
		t.Errorf("upstream --stop says %q", out)
	}
	w.untilAsked("http://tea.shop.svc/", "")
	if names := w.listed(); len(names) != 1 { // it was Ready: the stack does not look again
		t.Errorf("without its upstream the catalog lists %q", names)
	}

	w.must("wipe")
	w.checkBaseObjects()
	w.untilListed()
	w.must("upstream", "-n", "shop", "--port", "80", "tea")
}

// tea is an offer of Service shop/tea.
func tea() *v1alpha1.ServiceOffer {
	return &v1alpha1.ServiceOffer{
		ObjectMeta: named("shop", "tea"),
		Spec: v1alpha1.ServiceOfferSpec{
			Type:     "http",
			Upstream: &v1alpha1.Upstream{Service: "tea", Namespace: "shop", Port: 80, HealthPath: "/healthz"},
			Payment: v1alpha1.Payment{
				Network: "base-sepolia", PayTo: "0x1111111111111111111111111111111111111111",
				Price: v1alpha1.Price{PerRequest: "0.001"},
			},
		},
	}
}

// TestReprobe: with it, a Ready offer whose upstream is gone leaves the catalog.
func TestReprobe(t *testing.T) {
	t.Parallel()
	w := newWhole(t, "--reprobe")
	w.must("upstream", "-n", "shop", "--port", "80", "tea")
	w.create(tea())
	w.untilListed("tea")
	w.must("upstream", "-n", "shop", "--port", "80", "--stop", "tea")
	w.untilListed()
}

// TestTheStackSaysThatItIsThere: obolctl knows by it that somebody reconciles.
func TestTheStackSaysThatItIsThere(t *testing.T) {
	t.Parallel()
	w := newWhole(t)
	for _, name := range []string{"serviceoffer-controller", "x402-verifier"} {
		var d appsv1.Deployment
		if err := w.Get(t.Context(), client.ObjectKey{Namespace: "x402", Name: name}, &d); err != nil || d.Status.AvailableReplicas != 1 {
			t.Errorf("Deployment %s has %d replicas available (%v)", name, d.Status.AvailableReplicas, err)
		}
	}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: "x402", Name: "x402-verifier"}, new(corev1.Service)); err != nil {
		t.Error(err)
	}
}

// TestEndpointsAreMirrored as sell inference writes them, and lead to this machine.
func TestEndpointsAreMirrored(t *testing.T) {
	t.Parallel()
	w := newWhole(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Host) })) // until l is closed
	}()
	defer l.Close()
	port := int32(l.Addr().(*net.TCPAddr).Port)

	make := func(name string, labels map[string]string) *corev1.Endpoints { //nolint:staticcheck // deprecated, and what the stack writes
		w.create(&corev1.Service{ObjectMeta: named("llm", name), Spec: corev1.ServiceSpec{
			Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(port)}}}})
		meta := named("llm", name)
		meta.Labels = labels
		e := &corev1.Endpoints{ObjectMeta: meta, Subsets: []corev1.EndpointSubset{{ //nolint:staticcheck // as above
			Addresses: []corev1.EndpointAddress{{IP: "203.0.113.1"}}, Ports: []corev1.EndpointPort{{Port: port}}}}}
		w.create(e)
		return e
	}
	make("hidden", map[string]string{discoveryv1.LabelSkipMirror: "true"})
	endpoints := make("qwen", nil)
	w.untilAsked("http://qwen.llm.svc.cluster.local/", "200 qwen.llm.svc.cluster.local")

	mirrored := w.slices(t.Context(), "qwen")
	if len(mirrored) != 1 {
		t.Fatalf("there are %d slices", len(mirrored))
	}
	got := mirrored[0]
	want := map[string]string{
		discoveryv1.LabelServiceName: "qwen",
		discoveryv1.LabelManagedBy:   "endpointslicemirroring-controller.k8s.io",
	}
	if diff := cmp.Diff(want, got.Labels); diff != "" {
		t.Errorf("its labels differ (-want +got):\n%s", diff)
	}
	if o := got.OwnerReferences; len(o) != 1 || o[0].Kind != "Endpoints" || o[0].UID != endpoints.UID {
		t.Errorf("its owner is %v", o)
	}
	if p := got.Ports; len(p) != 1 || *p[0].Name != "" || *p[0].Port != port {
		t.Errorf("its ports are %v", p)
	}
	if hidden := w.slices(t.Context(), "hidden"); len(hidden) != 0 {
		t.Errorf("what is not to be mirrored has %d slices", len(hidden))
	}
	if err := w.Delete(t.Context(), endpoints); err != nil {
		t.Fatal(err)
	}
	w.untilAsked("http://qwen.llm.svc.cluster.local/", "")
}

// TestADemoRuns while its Deployment wants it to.
func TestADemoRuns(t *testing.T) {
	t.Parallel()
	w := newWhole(t)
	labels := map[string]string{"app": "hello"}
	meta := named("llm", "hello")
	meta.Labels = map[string]string{"obol.org/demo": "true"}
	demo := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{Containers: []corev1.Container{{
				Name: "demo", Image: "demo", Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}}}}},
		},
	}}
	w.create(&corev1.Service{ObjectMeta: named("llm", "hello"), Spec: corev1.ServiceSpec{
		Selector: labels, Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromString("http")}}}})
	w.untilAsked("http://hello.llm.svc/", "")
	w.create(demo)
	answer := `200 {"service":"llm/hello","method":"GET","path":"/"}`
	w.untilAsked("http://hello.llm.svc/", answer)
	available := func(want int32) {
		t.Helper()
		w.until(fmt.Sprintf("%d are available", want), func(ctx context.Context) bool {
			if err := w.Get(ctx, client.ObjectKeyFromObject(demo), demo); err != nil {
				t.Fatal(err)
			}
			return demo.Status.AvailableReplicas == want && demo.Status.ObservedGeneration == demo.Generation
		})
	}
	available(1)
	for _, n := range []int32{0, 2} {
		demo.Spec.Replicas = &n
		if err := w.Update(t.Context(), demo); err != nil {
			t.Fatal(err)
		}
		available(n)
		w.untilAsked("http://hello.llm.svc/", map[int32]string{0: "", 2: answer}[n])
	}
	// Whoever deletes the slice sees it again.
	for _, slice := range w.slices(t.Context(), "hello") {
		if err := w.Delete(t.Context(), &slice); err != nil {
			t.Fatal(err)
		}
	}
	w.untilAsked("http://hello.llm.svc/", answer)
	if err := w.Delete(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	w.untilAsked("http://hello.llm.svc/", "")
	w.until("no slice is left", func(ctx context.Context) bool { return len(w.slices(ctx, "hello")) == 0 })
}

// TestAnAgentRuns while there is one.
func TestAnAgentRuns(t *testing.T) {
	t.Parallel()
	w := newWhole(t)
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "agent-quant"}})
	agent := &v1alpha1.Agent{ObjectMeta: named("agent-quant", "quant")}
	w.create(agent)
	w.untilAsked("http://hermes.agent-quant.svc.cluster.local:8642/health",
		`200 {"service":"agent-quant/hermes","method":"GET","path":"/health"}`)
	if err := w.Delete(t.Context(), agent); err != nil {
		t.Fatal(err)
	}
	w.until("nothing answers for the agent", func(context.Context) bool {
		_, err := w.ask("http://hermes.agent-quant.svc.cluster.local:8642/health")
		return err != nil
	})
}

// TestASandboxStaysWhatItIs, bare or whole.
func TestASandboxStaysWhatItIs(t *testing.T) {
	t.Parallel()
	s := newSandbox(t)
	s.must("up", "--detach", "--bare")
	refused := func(command string, args []string, want string) {
		t.Helper()
		if code, _, stderr := s.run(command, args...); code != 1 || !strings.Contains(stderr, want) {
			t.Errorf("%s %q: exit %d, %q", command, args, code, stderr)
		}
	}
	refused("up", []string{"--detach", "--reprobe"}, "this sandbox is bare")
	refused("upstream", []string{"--port", "80", "tea"}, "is bare: it has no stack")
	s.must("down")
	s.must("up", "--detach")
	if d := s.description(); d.Edge != "" || d.PIDs["stack"] != 0 {
		t.Errorf("a bare sandbox has the edge %q, and process %d", d.Edge, d.PIDs["stack"])
	}
	s.checkBaseObjects()

	s = newSandbox(t)
	s.must("up", "--detach")
	refused("up", []string{"--detach", "--bare"}, "first brought up with it")
	refused("up", []string{"--detach", "--reprobe"}, "first brought up without it")
	s.must("down")
	refused("upstream", []string{"--port", "80", "tea"}, "is not up")
}
