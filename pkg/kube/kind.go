package kube

import (
	"fmt"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A kind is where the objects of one kind are found.
type kind struct {
	name       string
	apiVersion string
	plural     string
	clustered  bool // it lives in no namespace
}

// The kinds that are made.
var kinds = map[string]kind{
	resource.Namespace:     {resource.Namespace, "v1", "namespaces", true},
	resource.Deployment:    {resource.Deployment, "apps/v1", "deployments", false},
	resource.Service:       {resource.Service, "v1", "services", false},
	resource.EndpointSlice: {resource.EndpointSlice, "discovery.k8s.io/v1", "endpointslices", false},
	resource.ServiceOffer:  {resource.ServiceOffer, "obol.org/v1alpha1", "serviceoffers", false},
}

// The kinds that are only read.
var (
	agents     = kind{"Agent", "obol.org/v1alpha1", "agents", false}
	configMaps = kind{"ConfigMap", "v1", "configmaps", false}
	nodes      = kind{"Node", "v1", "nodes", true}
	secrets    = kind{"Secret", "v1", "secrets", false}
)

// root is the path of the group and version.
func (k kind) root() string {
	if strings.Contains(k.apiVersion, "/") {
		return "/apis/" + k.apiVersion
	}
	return "/api/" + k.apiVersion
}

// everywhere is the path of all objects of the kind.
func (k kind) everywhere() string { return k.root() + "/" + k.plural }

func (k kind) path(namespace, name string) string {
	if k.clustered {
		return k.root() + "/" + k.plural + "/" + name
	}
	return k.root() + "/namespaces/" + namespace + "/" + k.plural + "/" + name
}

// missing says that the API server does not serve the kind.
func (k kind) missing() string {
	if strings.HasPrefix(k.apiVersion, "obol.org/") {
		return fmt.Sprintf("the cluster has no %s CRD: install the Obol Stack first", k.name)
	}
	return fmt.Sprintf("the cluster does not serve %s of %s", k.plural, k.apiVersion)
}
