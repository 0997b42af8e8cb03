// Package api holds the manifests of the Obol Stack's custom resources.
package api

import "embed"

//go:generate go tool -modfile=../tools/go.mod controller-gen crd object paths=./v1alpha1 output:crd:dir=crds

// CRDs is the generated manifests, one file for each kind, in folder crds.
//
//go:embed crds/*.yaml
var CRDs embed.FS
