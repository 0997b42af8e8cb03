// Package v1alpha1 is the resources of obol.org/v1alpha1 as the Obol Stack
// serves them. The manifests in api/crds are generated from it.
//
// Field names, limits and defaults are the stack's, also where another choice
// would be safer: what the stack accepts must be accepted here. Lists carry no
// list-type marker, so server-side apply treats each as one value.
//
// +kubebuilder:object:generate=true
// +groupName=obol.org
// +versionName=v1alpha1
package v1alpha1
