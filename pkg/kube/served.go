package kube

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// CheckServed checks every field of the ServiceOffers among the specs against
// the schema that the cluster serves, since upstream changes its CRD in place.
// The result has an entry for each that cannot be applied there, or of which
// that cannot be told; what kinds beside ServiceOffer hold is as old as
// Kubernetes is, and is not checked.
func (c *Client) CheckServed(ctx context.Context, specs []resource.Spec) map[resource.ID]error {
	var offers []resource.Spec
	for _, s := range specs {
		if s.ID.Kind == resource.ServiceOffer {
			offers = append(offers, s)
		}
	}
	if len(offers) == 0 {
		return nil
	}
	k := kinds[resource.ServiceOffer]
	served, err := c.awaitSchema(ctx, k)
	problems := map[resource.ID]error{}
	for _, s := range offers {
		if err != nil {
			problems[s.ID] = fmt.Errorf("cannot check %s against the cluster's schema: %w", s.ID, err)
			continue
		}
		if path := served.unknown(s.Object, nil); path != "" {
			problems[s.ID] = failure{fmt.Sprintf(
				"%s: the cluster's ServiceOffer has no field %s: upgrade the Obol Stack, or take the attribute out", s.ID, path), resource.ErrFinal}
		}
	}
	return problems
}

// A schema is what matters of an OpenAPI schema: which fields there may be.
type schema struct {
	Kinds []struct {
		Group, Version, Kind string
	} `json:"x-kubernetes-group-version-kind"`
	Properties map[string]*schema `json:"properties"`
	Additional any                `json:"additionalProperties"`
	Items      *schema            `json:"items"`
	Open       bool               `json:"x-kubernetes-preserve-unknown-fields"`
}

// A CRD is served before its schema is published, for some seconds after it was
// installed or the API server was started.
const (
	schemaPatience = 10 * time.Second
	schemaPause    = 200 * time.Millisecond
)

// awaitSchema gets the schema of a kind, and waits a little for one that is not
// published yet.
func (c *Client) awaitSchema(ctx context.Context, k kind) (*schema, error) {
	limit := time.Now().Add(schemaPatience)
	for {
		s, err := c.schema(ctx, k)
		if !errors.Is(err, errNotPublished) || time.Now().After(limit) {
			return s, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(schemaPause):
		}
	}
}

// errNotPublished means that the cluster has no schema of a kind.
var errNotPublished = fmt.Errorf("no schema is published: %w", resource.ErrFinal)

func (c *Client) schema(ctx context.Context, k kind) (*schema, error) {
	var doc struct {
		Components struct{ Schemas map[string]*schema }
	}
	err := c.read(ctx, request{verb: verbGet, path: "/openapi/v3" + k.root()}, &doc)
	if code(err) == http.StatusNotFound {
		return nil, failure{k.missing(), errNotPublished}
	}
	if err != nil {
		return nil, fmt.Errorf("%s", why(err, "get /openapi/v3"+k.root()))
	}
	group, version, _ := strings.Cut(k.apiVersion, "/")
	for _, name := range slices.Sorted(maps.Keys(doc.Components.Schemas)) {
		s := doc.Components.Schemas[name]
		for _, is := range s.Kinds {
			if is.Group == group && is.Version == version && is.Kind == k.name {
				return s, nil
			}
		}
	}
	return nil, failure{k.missing(), errNotPublished}
}

// unknown gives the path of the first field that the schema does not know, by
// name; "" when it knows all.
func (s *schema) unknown(value any, at []string) string {
	if s == nil || s.Open {
		return ""
	}
	switch value := value.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(value)) {
			below, known := s.Properties[key]
			if !known && !s.anyField() {
				return resource.FormatPath(append(at, key)...)
			}
			if path := below.unknown(value[key], append(at[:len(at):len(at)], key)); path != "" {
				return path
			}
		}
	case []any:
		for _, element := range value {
			if path := s.Items.unknown(element, at); path != "" {
				return path
			}
		}
	}
	return ""
}

// anyField reports whether fields that are not named may be there: of a map, or
// of an object that the schema says nothing of.
func (s *schema) anyField() bool {
	if s.Additional != nil {
		return s.Additional != false
	}
	return s.Properties == nil
}
