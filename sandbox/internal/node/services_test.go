package node

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
)

// TestOnlyAReadyAgentAnswers: the Service alone is not enough, nor is an Agent
// that is not done.
func TestOnlyAReadyAgentAnswers(t *testing.T) {
	t.Parallel()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	service := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "agent-quant", Name: "hermes"}, Spec: corev1.ServiceSpec{
		Selector: map[string]string{"app": "hermes"}, Ports: []corev1.ServicePort{{Port: 8642}},
	}}
	for phase, want := range map[string]int{"": 0, "Pending": 0, "Provisioning": 0, "Failed": 0, "Ready": 1} {
		agent := &v1alpha1.Agent{ObjectMeta: metav1.ObjectMeta{Namespace: "agent-quant", Name: "quant"}, Status: v1alpha1.AgentStatus{Phase: phase}}
		s := &services{Client: fake.NewClientBuilder().WithScheme(scheme).WithObjects(agent).Build()}
		ports, err := s.answered(t.Context(), service)
		if err != nil || len(ports) != want {
			t.Errorf("%q: %d ports, want %d; %v", phase, len(ports), want, err)
		}
	}
}
