package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/obolctl/obolctl/internal/testcluster"
	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/controller"
	"github.com/obolctl/obolctl/sandbox/internal/objects"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// Of the one cluster that the tests share.
var (
	cluster *testcluster.Cluster
	cfg     *rest.Config
	kinds   = runtime.NewScheme()
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard())
	os.Exit(testcluster.Main(m, func(c *testcluster.Cluster) {
		if err := prepare(c); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}))
}

func prepare(c *testcluster.Cluster) (err error) {
	cluster = c
	if cfg, err = clientcmd.BuildConfigFromFlags("", filepath.Join(c.Dir, "kubeconfig.yaml")); err != nil {
		return err
	}
	cfg.QPS = -1
	return errors.Join(clientgoscheme.AddToScheme(kinds), v1alpha1.AddToScheme(kinds),
		objects.Ensure(context.Background(), cfg))
}

// A world is a namespace with a controller that sees nothing else but the
// verifier.
type world struct {
	*testing.T
	client.Client
	namespace string
	upstreams *upstreams
	published chan []v1alpha1.ServiceOffer // each call of Publish
	refuse    chan error                   // what the next calls of Publish return
}

type setting func(*controller.Options)

// newWorld has a verifier and a controller that runs until the test ends.
func newWorld(t *testing.T, settings ...setting) *world {
	t.Helper()
	w := bareWorld(t)
	w.makeVerifier()
	w.start(settings...)
	return w
}

// bareWorld has no controller yet.
func bareWorld(t *testing.T) *world {
	t.Helper()
	c, err := client.New(cfg, client.Options{Scheme: kinds})
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return &world{
		T: t, Client: c, namespace: ns.Name, upstreams: newUpstreams(),
		published: make(chan []v1alpha1.ServiceOffer, 1000), refuse: make(chan error, 10),
	}
}

func (w *world) start(settings ...setting) {
	w.Helper()
	quietNames := true
	mgr, err := ctrl.NewManager(cfg, manager.Options{
		Scheme:     kinds,
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.namespace: {}, "x402": {}}},
		Controller: config.Controller{SkipNameValidation: &quietNames},
		Metrics:    server.Options{BindAddress: "0"},
	})
	if err != nil {
		w.Fatal(err)
	}
	o := controller.Options{Client: &http.Client{Transport: w.upstreams}, Publish: w.publish}
	for _, set := range settings {
		set(&o)
	}
	if err := controller.Add(mgr, o); err != nil {
		w.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	w.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			w.Error(err)
		}
	})
	if !mgr.GetCache().WaitForCacheSync(w.Context()) {
		w.Fatal("the cache does not fill")
	}
}

func (w *world) publish(_ context.Context, offers []v1alpha1.ServiceOffer) error {
	w.published <- offers
	select {
	case err := <-w.refuse:
		return err
	default:
		return nil
	}
}

// makeVerifier makes sure of the Service and Deployment of the verifier.
func (w *world) makeVerifier() {
	w.Helper()
	meta := metav1.ObjectMeta{Name: "x402-verifier", Namespace: "x402"}
	labels := map[string]string{"app": "x402-verifier"}
	service := &corev1.Service{ObjectMeta: meta, Spec: corev1.ServiceSpec{Selector: labels, Ports: []corev1.ServicePort{{Port: 8080}}}}
	deployment := &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "x402-verifier", Image: "x402-verifier"}}},
		},
	}}
	for _, o := range []client.Object{service, deployment} {
		if err := w.Create(w.Context(), o); client.IgnoreAlreadyExists(err) != nil {
			w.Fatal(err)
		}
	}
	w.setVerifier(1)
}

// setVerifier says how many replicas of the verifier are available.
func (w *world) setVerifier(replicas int) {
	w.Helper()
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "x402-verifier", Namespace: "x402"}}
	patch := fmt.Sprintf(`{"status":{"replicas":%d,"readyReplicas":%d,"availableReplicas":%d}}`, replicas, replicas, replicas)
	if err := w.Status().Patch(w.Context(), d, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// offer is one that sells Service up-NAME, not made yet.
func (w *world) offer(name string, change ...func(*v1alpha1.ServiceOffer)) *v1alpha1.ServiceOffer {
	o := &v1alpha1.ServiceOffer{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace},
		Spec: v1alpha1.ServiceOfferSpec{
			Type:     "http",
			Path:     "/services/" + w.namespace + "-" + name,
			Upstream: &v1alpha1.Upstream{Service: "up-" + name, Namespace: w.namespace, Port: 80},
			Payment: v1alpha1.Payment{
				Network: "base-sepolia", PayTo: "0x" + strings.Repeat("1", 40), Price: v1alpha1.Price{PerRequest: "0.01"},
			},
		},
	}
	for _, c := range change {
		c(o)
	}
	return o
}

func (w *world) make(objects ...client.Object) {
	w.Helper()
	for _, o := range objects {
		if err := w.Create(w.Context(), o); err != nil {
			w.Fatal(err)
		}
	}
}

// change patches an offer, with JSON whose quotes may be single ones.
func (w *world) change(name, patch string) {
	w.Helper()
	o := &v1alpha1.ServiceOffer{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: w.namespace}}
	patch = strings.ReplaceAll(patch, "'", `"`)
	if err := w.Patch(w.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		w.Fatal(err)
	}
}

// touch does what obolctl does to have an offer looked at again.
func (w *world) touch(name string) {
	w.Helper()
	w.change(name, fmt.Sprintf(`{'metadata':{'annotations':{'offers.obolctl.io/touched':'%d'}}}`, time.Now().UnixNano()))
}

func (w *world) get(name string) *v1alpha1.ServiceOffer {
	w.Helper()
	o := new(v1alpha1.ServiceOffer)
	if err := w.Get(w.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, o); err != nil {
		w.Fatal(err)
	}
	return o
}

// soon waits until ok, and fails after limit with what note says.
func (w *world) soon(limit time.Duration, ok func() bool, note func() string) {
	w.Helper()
	end := time.After(limit)
	for !ok() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-end:
			w.Fatalf("not within %v: %s", limit, note())
		}
	}
}

// await waits until a condition of an offer has the status and reason, as in
// "False/Unhealthy".
func (w *world) await(limit time.Duration, name, condition, want string) *v1alpha1.ServiceOffer {
	w.Helper()
	var o *v1alpha1.ServiceOffer
	w.soon(limit, func() bool {
		o = w.get(name)
		c := selling.Condition(o, condition)
		return c != nil && c.Status+"/"+c.Reason == want
	}, func() string { return fmt.Sprintf("%s of %s is not %s: %s", condition, name, want, brief(o)) })
	return o
}

// brief is the conditions as lines of type, status and reason.
func brief(o *v1alpha1.ServiceOffer) string {
	var out strings.Builder
	for _, c := range o.Status.Conditions {
		fmt.Fprintf(&out, "%s=%s/%s\n", c.Type, c.Status, c.Reason)
	}
	return out.String()
}

// upstreams stand in for all Services, which answer alike.
type upstreams struct {
	mu     sync.Mutex
	status int // 0: they refuse connections
	probes map[string]int
}

func newUpstreams() *upstreams {
	return &upstreams{status: http.StatusOK, probes: make(map[string]int)}
}

// answer is what they do from now on.
func (u *upstreams) answer(status int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.status = status
}

// asked is how often a Service was probed.
func (u *upstreams) asked(service string) int {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.probes[service]
}

func (u *upstreams) RoundTrip(r *http.Request) (*http.Response, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	service, _, _ := strings.Cut(r.URL.Host, ".")
	u.probes[service]++
	if u.status == 0 {
		return nil, errors.New("dial tcp 203.0.113.9:80: connect: connection refused")
	}
	return &http.Response{StatusCode: u.status, Status: http.StatusText(u.status), Body: http.NoBody, Request: r}, nil
}
