package controller

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/obolctl/obolctl/sandbox/api/v1alpha1"
	"github.com/obolctl/obolctl/sandbox/internal/selling"
)

// stillThere is when to look again at children that are being deleted.
const stillThere = 50 * time.Millisecond

const gatewayGroup = "gateway.networking.k8s.io"

// publish makes the offer's routes, and takes away one that an older
// specification had.
func (r *offers) publish(ctx context.Context, o *v1alpha1.ServiceOffer) error {
	if err := r.apply(ctx, pathRoute(o)); err != nil {
		return err
	}
	if selling.Hostname(o) != "" {
		return r.apply(ctx, hostRoute(o))
	}
	if o.Generation == 1 {
		return nil // it never had a hostname
	}
	_, err := r.remove(ctx, hostRoute(o))
	return err
}

// withdraw deletes the offer's children; gone when there were none.
func (r *offers) withdraw(ctx context.Context, o *v1alpha1.ServiceOffer) (gone bool, err error) {
	gone = true
	for _, child := range []*unstructured.Unstructured{pathRoute(o), hostRoute(o), grant(o)} {
		absent, err := r.remove(ctx, child)
		if err != nil {
			return false, err
		}
		gone = gone && absent
	}
	return gone, nil
}

// remove deletes a child. It is absent when there was none, or none of its
// kind; then nothing is sent but a question.
func (r *offers) remove(ctx context.Context, child *unstructured.Unstructured) (absent bool, err error) {
	err = r.live.Get(ctx, client.ObjectKeyFromObject(child), child)
	if err == nil {
		err = r.Delete(ctx, child)
	}
	if meta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
		return true, nil
	}
	return false, err
}

// apply makes a child what it should be, whoever else wrote to it.
func (r *offers) apply(ctx context.Context, child *unstructured.Unstructured) error {
	return r.Apply(ctx, client.ApplyConfigurationFromUnstructured(child), client.FieldOwner(fieldManager), client.ForceOwnership)
}

// pathRoute sends the offer's path to the verifier.
func pathRoute(o *v1alpha1.ServiceOffer) *unstructured.Unstructured {
	return route(o, "so-"+o.Name, map[string]any{
		"parentRefs": parents(),
		"rules": []any{map[string]any{
			"matches":     matches("PathPrefix", selling.Path(o)),
			"backendRefs": backends("x402-verifier"),
		}},
	})
}

// hostRoute sends the offer's hostname there, but for the documents of its root.
func hostRoute(o *v1alpha1.ServiceOffer) *unstructured.Unstructured {
	host := selling.Hostname(o)
	return route(o, "so-"+o.Name+"-host", map[string]any{
		"parentRefs": parents(),
		"hostnames":  []any{host},
		"rules": []any{
			map[string]any{
				"matches":     matches("Exact", "/", "/openapi.json", "/.well-known/x402"),
				"backendRefs": backends("obol-skill-md"),
			},
			map[string]any{
				"matches":     matches("PathPrefix", "/"),
				"backendRefs": backends("x402-verifier"),
				"filters": []any{
					map[string]any{"type": "URLRewrite", "urlRewrite": map[string]any{
						"path": map[string]any{"type": "ReplacePrefixMatch", "replacePrefixMatch": selling.Path(o)},
					}},
					map[string]any{"type": "RequestHeaderModifier", "requestHeaderModifier": map[string]any{"set": []any{
						map[string]any{"name": "X-Forwarded-Host", "value": host},
						map[string]any{"name": "X-Forwarded-Proto", "value": "https"},
					}}},
				},
			},
		},
	})
}

// grant lets routes of the offer's namespace reach the Services of x402. Its
// name holds a hash, so that no two offers share one.
func grant(o *v1alpha1.ServiceOffer) *unstructured.Unstructured {
	return child("ReferenceGrant", gatewayGroup+"/v1beta1", map[string]any{
		"name":      fit("so-" + o.Name + "-backend-grant-" + hash(o.Namespace+"/"+o.Name)),
		"namespace": "x402",
		"labels": map[string]any{
			"obol.org/managed-by":             fieldManager,
			"obol.org/serviceoffer-namespace": o.Namespace,
			"obol.org/serviceoffer-name":      fitLabel(o.Name),
		},
	}, map[string]any{
		"from": []any{map[string]any{"group": gatewayGroup, "kind": "HTTPRoute", "namespace": o.Namespace}},
		"to":   []any{map[string]any{"group": "", "kind": "Service"}},
	})
}

// route is an HTTPRoute that the offer owns.
func route(o *v1alpha1.ServiceOffer, name string, spec map[string]any) *unstructured.Unstructured {
	return child("HTTPRoute", gatewayGroup+"/v1", map[string]any{
		"name": fit(name), "namespace": o.Namespace,
		"ownerReferences": owner("ServiceOffer", o.Name, string(o.UID)),
	}, spec)
}

func child(kind, apiVersion string, metadata, spec map[string]any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": apiVersion, "kind": kind, "metadata": metadata, "spec": spec,
	}}
}

func owner(kind, name, uid string) []any {
	return []any{map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "name": name, "uid": uid,
		"controller": true, "blockOwnerDeletion": true,
	}}
}

func parents() []any {
	return []any{map[string]any{"name": "traefik-gateway", "namespace": "traefik", "sectionName": "web"}}
}

func matches(kind string, paths ...string) []any {
	var out []any
	for _, p := range paths {
		out = append(out, map[string]any{"path": map[string]any{"type": kind, "value": p}})
	}
	return out
}

func backends(service string) []any {
	return []any{map[string]any{"name": service, "namespace": "x402", "port": int64(8080)}}
}

// Lengths of names and of values of labels.
const (
	longestName  = 253
	longestLabel = 63
)

func fit(name string) string      { return cut(name, longestName) }
func fitLabel(name string) string { return cut(name, longestLabel) }

// cut shortens a name that is too long, as the stack does: to what fits with
// eight digits of its hash.
func cut(name string, longest int) string {
	if len(name) <= longest {
		return name
	}
	return name[:longest-9] + "-" + hash(name)
}

func hash(s string) string {
	sum := md5.Sum([]byte(s))
	return hex.EncodeToString(sum[:4])
}
