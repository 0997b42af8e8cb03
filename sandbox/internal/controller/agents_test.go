package controller_test

import (
	"testing"

	"github.com/ethereum/go-ethereum/accounts/keystore"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

const walletAddress = "obol.org/wallet-address"

// agent is one with a wallet of its own, not made yet.
func (w *world) agent() *v1alpha1.Agent {
	return &v1alpha1.Agent{
		ObjectMeta: metav1.ObjectMeta{Name: "ada", Namespace: w.namespace},
		Spec:       v1alpha1.AgentSpec{Model: "m", Skills: []v1alpha1.Skill{"sums"}, Wallet: &v1alpha1.Wallet{Create: true}},
	}
}

// agentOffer sells the agent.
func (w *world) agentOffer(name string, change ...func(*v1alpha1.ServiceOffer)) *v1alpha1.ServiceOffer {
	return w.offer(name, append([]func(*v1alpha1.ServiceOffer){func(o *v1alpha1.ServiceOffer) {
		o.Spec.Type, o.Spec.Upstream = "agent", nil
		o.Spec.Agent = &v1alpha1.AgentSource{Ref: &v1alpha1.AgentRef{Name: "ada", Namespace: w.namespace}}
	}}, change...)...)
}

// awaitPhase waits until the agent has a phase.
func (w *world) awaitPhase(phase string) *v1alpha1.Agent {
	w.Helper()
	a := new(v1alpha1.Agent)
	w.soon(slow, func() bool {
		err := w.Get(w.Context(), client.ObjectKeyFromObject(w.agent()), a)
		return err == nil && a.Status.Phase == phase
	}, func() string { return "the agent is " + a.Status.Phase })
	return a
}

// remove deletes an object and waits until it is gone.
func (w *world) remove(o client.Object) {
	w.Helper()
	if err := w.Delete(w.Context(), o); err != nil {
		w.Fatal(err)
	}
	w.soon(quick, func() bool { return apierrors.IsNotFound(w.Get(w.Context(), client.ObjectKeyFromObject(o), o)) },
		func() string { return o.GetName() + " stays" })
}

func (w *world) keystore() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "remote-signer-keystore", Namespace: w.namespace}}
}

func TestAgentIsSold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.agentOffer("a"))
	o := w.await(quick, "a", selling.Ready, "False/WaitingForAgent")
	want := `ModelReady=False/WaitingForAgent
UpstreamHealthy=False/WaitingForAgent
Draining=False/Active
PaymentGateReady=False/WaitingForAgent
RoutePublished=False/WaitingForAgent
Registered=True/Disabled
Ready=False/WaitingForAgent
`
	if diff := cmp.Diff(want, brief(o)); diff != "" {
		t.Errorf("conditions (-want +got):\n%s", diff)
	}

	w.make(w.agent())
	a := w.awaitPhase("Ready")
	endpoint := "http://hermes." + w.namespace + ".svc.cluster.local:8642"
	if s := a.Status; s.PinnedModel != "m" || s.Endpoint != endpoint || s.ObservedGeneration != a.Generation || s.WalletAddress == "" {
		t.Errorf("the agent's status is %+v", s)
	}
	o = w.await(quick, "a", selling.Ready, "True/Reconciled")
	resolved := &v1alpha1.AgentResolution{Model: "m", Skills: []string{"sums"}, Runtime: "hermes", Endpoint: endpoint}
	if diff := cmp.Diff(resolved, o.Status.AgentResolution); diff != "" {
		t.Errorf("the resolution (-want +got):\n%s", diff)
	}
	if w.upstreams.asked("hermes") == 0 {
		t.Error("the agent was not probed")
	}
	var service corev1.Service
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "hermes"}, &service); err != nil || service.Spec.Ports[0].Port != 8642 {
		t.Errorf("the agent's Service: %v, %v", service.Spec.Ports, err)
	}

	// The agent goes; its offers stay, and its keystore.
	w.remove(w.agent())
	o = w.await(quick, "a", selling.Ready, "False/WaitingForAgent")
	if o.Status.AgentResolution != nil {
		t.Errorf("the resolution of a deleted agent stays: %+v", o.Status.AgentResolution)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(&service), &service); !apierrors.IsNotFound(err) {
		t.Errorf("the agent's Service: %v", err)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.keystore()), w.keystore()); err != nil {
		t.Error(err)
	}
}

// TestWalletIsItsKeystore: as long as the Secret is there an agent comes back
// with its wallet; without it another is minted, and the old one is lost.
func TestWalletIsItsKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.agent())
	first := w.awaitPhase("Ready").Status.WalletAddress
	secret := w.keystore()
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Fatal(err)
	}
	key, err := keystore.DecryptKey(secret.Data["keystore.json"], string(secret.Data["password"]))
	if err != nil {
		t.Fatal(err)
	}
	if key.Address.Hex() != first || secret.Annotations[walletAddress] != first || len(secret.Data["authToken"]) == 0 {
		t.Errorf("the key is of %s, the annotation %q, the wallet %s", key.Address.Hex(), secret.Annotations[walletAddress], first)
	}

	w.remove(w.agent())
	w.make(w.agent())
	if again := w.awaitPhase("Ready").Status.WalletAddress; again != first {
		t.Errorf("with its keystore it is back as %s, not %s", again, first)
	}
	w.remove(w.agent())
	w.remove(w.keystore())
	w.make(w.agent())
	if again := w.awaitPhase("Ready").Status.WalletAddress; again == first || again == "" {
		t.Errorf("without its keystore it is back as %q", again)
	}
}

// TestForeignKeystore: one that does not say whose it is is left alone.
func TestForeignKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	foreign := w.keystore()
	foreign.StringData = map[string]string{"keystore.json": "theirs"}
	w.make(foreign, w.agent(), w.agentOffer("a"))
	if a := w.awaitPhase("Failed"); a.Status.WalletAddress != "" {
		t.Errorf("it has wallet %s", a.Status.WalletAddress)
	}
	w.await(quick, "a", selling.Ready, "False/WaitingForAgent")

	address := "0x00000000000000000000000000000000000000aA"
	foreign.Annotations = map[string]string{walletAddress: address}
	if err := w.Update(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	if a := w.awaitPhase("Ready"); a.Status.WalletAddress != address {
		t.Errorf("its wallet is %q", a.Status.WalletAddress)
	}
	if string(foreign.Data["keystore.json"]) != "theirs" {
		t.Error("the keystore was overwritten")
	}
}

// TestWithoutWallet: no key is minted unasked.
func TestWithoutWallet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent()
	a.Spec.Wallet, a.Spec.Model = nil, ""
	w.make(a)
	if s := w.awaitPhase("Ready").Status; s.WalletAddress != "" || s.PinnedModel == "" {
		t.Errorf("its status is %+v", s)
	}
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(w.keystore()), w.keystore()); !apierrors.IsNotFound(err) {
		t.Errorf("the keystore: %v", err)
	}
}

// TestAgentElsewhere: an offer that names an agent of another namespace gets no
// status at all, and holds back nobody.
func TestAgentElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.make(w.agent(), w.agentOffer("a", func(o *v1alpha1.ServiceOffer) { o.Spec.Agent.Ref.Namespace = "x402" }))
	w.soon(quick, func() bool { return len(w.get("a").Finalizers) == 1 }, func() string { return "it is not seen" })
	w.make(w.agentOffer("b"))
	w.await(quick, "b", selling.Ready, "True/Reconciled")
	if s := w.get("a").Status; len(s.Conditions) != 0 || s.Endpoint != "" {
		t.Errorf("its status is %+v", s)
	}
	w.change("a", `{'spec':{'agent':{'ref':{'namespace':'`+w.namespace+`'}}}}`)
	w.await(quick, "a", selling.Ready, "True/Reconciled")
}
