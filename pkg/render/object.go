package render

import (
	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/resource"
)

// The names that the Obol Stack and Kubernetes give.
const (
	agentNamespaceLabel = "obol.org/agent-namespace"
	demoLabel           = "obol.org/demo"
	managedByLabel      = "app.kubernetes.io/managed-by"
	nameLabel           = "app.kubernetes.io/name"
	serviceNameLabel    = "kubernetes.io/service-name"
	sliceManagerLabel   = "endpointslice.kubernetes.io/managed-by"
)

// demoPort is where the stack's demo server listens.
const demoPort = 8080

// isDemoServer reports whether the offer sells a demo server that we deploy,
// which is every demo but that of an agent.
func isDemoServer(o *offer.Offer) bool { return o.Type == offer.Demo && o.AgentRef.Name == "" }

// namespace is only what a namespace needs to be made when it is missing: it is
// shared, so it never bears our mark, and is never changed.
func (r *renderer) namespace() resource.Spec {
	meta := map[string]any{"name": r.offer.Namespace}
	if r.offer.AgentRef.Name != "" {
		meta["labels"] = map[string]any{agentNamespaceLabel: "true", managedByLabel: "obol-cli"}
	}
	return resource.Spec{
		ID:     resource.ID{Kind: resource.Namespace, Name: r.offer.Namespace},
		Object: map[string]any{"apiVersion": "v1", "kind": resource.Namespace, "metadata": meta},
	}
}

// object completes an object of the offer with its identity and our marks. It
// keeps both maps.
func (r *renderer) object(apiVersion, kind string, labels, fields map[string]any) resource.Spec {
	labels[resource.SiteLabel] = r.env.Site
	fields["apiVersion"] = apiVersion
	fields["kind"] = kind
	fields["metadata"] = map[string]any{
		"name":      r.offer.Name,
		"namespace": r.offer.Namespace,
		"labels":    labels,
		"annotations": map[string]any{
			resource.AddressAnnotation: r.offer.Address.String(),
			resource.HolderAnnotation:  r.env.Holder,
		},
	}
	return resource.Spec{ID: r.id(kind), Object: fields}
}

// service gives the offer a name and address in the cluster. Without a selector
// its endpoints are those of our EndpointSlice. What the API server would fill
// in is written out, so that nobody changes it unseen.
func (r *renderer) service(port int, selector map[string]any) resource.Spec {
	spec := map[string]any{
		"type": "ClusterIP",
		"ports": []any{map[string]any{
			"name": "http", "port": float64(port), "targetPort": float64(port), "protocol": "TCP",
		}},
	}
	labels := map[string]any{}
	if selector != nil {
		spec["selector"] = selector
		labels = demoLabels(r.offer)
	}
	return r.object("v1", resource.Service, labels, map[string]any{"spec": spec})
}

// endpointSlice leads the Service to this host, whose address is filled in when
// it is located.
func (r *renderer) endpointSlice() resource.Spec {
	s := r.object("discovery.k8s.io/v1", resource.EndpointSlice,
		map[string]any{serviceNameLabel: r.offer.Name, sliceManagerLabel: resource.FieldManager},
		map[string]any{"ports": []any{map[string]any{
			"name": "http", "port": float64(r.offer.Gateway.Port), "protocol": "TCP",
		}}})
	s.OnHost = true
	return s
}

func demoLabels(o *offer.Offer) map[string]any {
	return map[string]any{"app": o.Name, nameLabel: o.Name, demoLabel: "true"}
}

// deployment runs the stack's demo server as its own command does.
func (r *renderer) deployment() resource.Spec {
	o := r.offer
	env := []any{
		map[string]any{"name": "DEMO_TYPE", "value": o.Demo.Scenario},
		map[string]any{"name": "PORT", "value": "8080"},
	}
	if o.Demo.Scenario == "blocks" {
		env = append(env, map[string]any{"name": "ERPC_URL",
			"value": "http://erpc.erpc.svc.cluster.local/rpc/" + o.Payments[0].Network})
	}
	probe := func() map[string]any {
		return map[string]any{"httpGet": map[string]any{"path": "/health", "port": "http"}}
	}
	container := map[string]any{
		"name":            "demo",
		"image":           o.Demo.Image,
		"imagePullPolicy": "IfNotPresent",
		"env":             env,
		"ports":           []any{map[string]any{"name": "http", "containerPort": float64(demoPort), "protocol": "TCP"}},
		"livenessProbe":   probe(),
		"readinessProbe":  probe(),
		"resources": map[string]any{
			"requests": map[string]any{"cpu": "10m", "memory": "16Mi"},
			"limits":   map[string]any{"cpu": "100m", "memory": "64Mi"},
		},
	}
	return r.object("apps/v1", resource.Deployment, demoLabels(o), map[string]any{"spec": map[string]any{
		"replicas": float64(1),
		"selector": map[string]any{"matchLabels": map[string]any{"app": o.Name}},
		"template": map[string]any{
			"metadata": map[string]any{"labels": demoLabels(o)},
			"spec":     map[string]any{"containers": []any{container}},
		},
	}})
}
