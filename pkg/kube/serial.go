package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"

	"github.com/obolctl/obolctl/pkg/resource"
)

const serialKey = "serial"

// WriteSerial writes the number of a run that changed this cluster into the
// site's ConfigMap, which is in namespace default.
func (m *Maker) WriteSerial(ctx context.Context, name string, serial int64) error {
	body, err := json.Marshal(map[string]any{
		"apiVersion": configMaps.apiVersion, "kind": configMaps.name,
		"metadata": map[string]any{"name": name, "namespace": "default", "labels": map[string]any{resource.SiteLabel: m.site}},
		"data":     map[string]any{serialKey: strconv.FormatInt(serial, 10)},
	})
	if err != nil {
		return fmt.Errorf("cannot encode the serial: %v", err)
	}
	_, err = m.client.try(ctx, request{
		verb: verbPatch, path: configMaps.path("default", name), content: applyPatch, body: body,
		query: url.Values{"fieldManager": {resource.FieldManager}, "force": {"true"}}, // the name bears our holder: nobody else's
	}, m.client.patience, passing)
	if err != nil {
		return explain(err, "apply", configMaps, resource.ID{Kind: configMaps.name, Namespace: "default", Name: name})
	}
	return nil
}
