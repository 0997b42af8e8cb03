package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"
)

var (
	services      = schema.GroupVersionResource{Version: "v1", Resource: "services"}
	serviceOffers = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "serviceoffers"}
	agents        = schema.GroupVersionResource{Group: "obol.org", Version: "v1alpha1", Resource: "agents"}
	secrets       = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	namespaces    = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// connect gives the story eyes of its own: what it checks in the cluster does
// not rest on what obolctl says.
func connect(_ context.Context, s *stage) error {
	config, err := clientcmd.BuildConfigFromFlags("", s.path("cluster/kubeconfig.yaml"))
	if err != nil {
		return err
	}
	s.client, err = dynamic.NewForConfig(config)
	return err
}

// bringAgent makes the agent and its wallet, as the stack does, or restores
// them: the same wallet each time.
func bringAgent(ctx context.Context, s *stage) error {
	const (
		wallet    = "0xde709f2102306220921060314715629080e2fb77"
		namespace = "agent-quant"
	)
	s.say("the stack brings its agent quant, with wallet " + wallet)
	if err := s.create(ctx, namespaces, "", object("v1", "Namespace", namespace, nil)); err != nil {
		return err
	}
	// The key comes first: the stack makes another for an agent that has none.
	if err := s.create(ctx, secrets, namespace, object("v1", "Secret", "remote-signer-keystore",
		map[string]any{"obol.org/wallet-address": wallet})); err != nil {
		return err
	}
	agent := object("obol.org/v1alpha1", "Agent", "quant", nil)
	agent.Object["spec"] = map[string]any{"wallet": map[string]any{"create": true}}
	if err := s.create(ctx, agents, namespace, agent); err != nil {
		return err
	}
	return s.until(ctx, "agent quant is ready, with that wallet", func() error {
		made, err := s.client.Resource(agents).Namespace(namespace).Get(ctx, "quant", metav1.GetOptions{})
		if err != nil {
			return err
		}
		status, _, err := unstructured.NestedMap(made.Object, "status")
		if err == nil && (status["phase"] != "Ready" || status["walletAddress"] != wallet) {
			err = fmt.Errorf("the agent is %v, with wallet %v", status["phase"], status["walletAddress"])
		}
		return err
	})
}

func object(apiVersion, kind, name string, annotations map[string]any) *unstructured.Unstructured {
	meta := map[string]any{"name": name}
	if annotations != nil {
		meta["annotations"] = annotations
	}
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": apiVersion, "kind": kind, "metadata": meta}}
}

// create makes an object; one that is there already is a success.
func (s *stage) create(ctx context.Context, r schema.GroupVersionResource, namespace string, o *unstructured.Unstructured) error {
	_, err := s.client.Resource(r).Namespace(namespace).Create(ctx, o, metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

// deleteLive deletes an object as another tool would, which waits until it is
// gone.
func deleteLive(r schema.GroupVersionResource, namespace, name string) act {
	return func(ctx context.Context, s *stage) error {
		s.prompt(fmt.Sprintf("kubectl delete -n %s %s %s", namespace, r.Resource, name))
		if err := s.client.Resource(r).Namespace(namespace).Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
			return err
		}
		return s.until(ctx, "it is gone", func() error {
			_, err := s.client.Resource(r).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
			switch {
			case err == nil:
				return errors.New("it is still there")
			case apierrors.IsNotFound(err):
				return nil
			}
			return err
		})
	}
}

// live fails unless each of these offers, "namespace/name", is in the cluster.
func live(names ...string) act {
	return func(ctx context.Context, s *stage) error {
		for _, full := range names {
			namespace, name, _ := strings.Cut(full, "/")
			if err := present(serviceOffers, namespace, name)(ctx, s); err != nil {
				return err
			}
		}
		return nil
	}
}

func present(r schema.GroupVersionResource, namespace, name string) act {
	return func(ctx context.Context, s *stage) error {
		if _, err := s.client.Resource(r).Namespace(namespace).Get(ctx, name, metav1.GetOptions{}); err != nil {
			return err
		}
		s.held(fmt.Sprintf("%s %s/%s is there", r.Resource, namespace, name))
		return nil
	}
}

func absent(r schema.GroupVersionResource, namespace, name string) act {
	return func(ctx context.Context, s *stage) error {
		_, err := s.client.Resource(r).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		switch {
		case err == nil:
			return fmt.Errorf("%s %s/%s is there", r.Resource, namespace, name)
		case !apierrors.IsNotFound(err):
			return err
		}
		s.held(fmt.Sprintf("%s %s/%s is not there", r.Resource, namespace, name))
		return nil
	}
}

// drained fails unless the offer is there and does not sell.
func drained(namespace, name string) act {
	return func(ctx context.Context, s *stage) error {
		o, err := s.client.Resource(serviceOffers).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		spec, _, err := unstructured.NestedMap(o.Object, "spec")
		if err != nil {
			return err
		}
		if spec["drainAt"] == nil || spec["drainGracePeriod"] != "0s" {
			return fmt.Errorf("offer %s/%s came back with drainAt %v and a grace of %v", namespace, name,
				spec["drainAt"], spec["drainGracePeriod"])
		}
		s.held(fmt.Sprintf("offer %s/%s is drained since %v", namespace, name, spec["drainAt"]))
		return nil
	}
}
