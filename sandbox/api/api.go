// Package api holds the manifests of the custom resources that the Obol Stack
// brings along.
package api

import "embed"

//go:generate go tool -modfile=../tools/go.mod controller-gen crd object paths=./v1alpha1 output:crd:dir=crds

// CRDs is the manifests: in folder crds the generated ones of obol.org, one file
// for each kind, in folder routes those of the Gateway API.
//
//go:embed crds/*.yaml routes/*.yaml
var CRDs embed.FS
