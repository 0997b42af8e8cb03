package render_test

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
)

// files is a folder in memory, from pairs of names and contents.
func files(pairs ...string) fstest.MapFS {
	folder := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		folder[pairs[i]] = &fstest.MapFile{Data: []byte(pairs[i+1])}
	}
	return folder
}

// withOverlay is an Env whose only overlay is in folder "eu".
func withOverlay(folder fs.FS) render.Env {
	e := env
	e.Overlay = func(name string) (fs.FS, error) {
		if name != "eu" {
			return nil, fmt.Errorf("no folder %q", name)
		}
		return folder, nil
	}
	return e
}

const patchOffer = `
patches:
- target: {kind: ServiceOffer}
  patch: |
    - op: add
      path: %s
      value: %s
`

func TestOverlaysChangeObjects(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		offer   offer.Offer
		overlay fstest.MapFS
		want    map[string]string // path in the object of that ID → value
	}{
		"labels, but not on the namespace": {
			hosted("weather"), files("kustomization.yaml", "labels: [{pairs: {team: sky}}]"),
			map[string]string{
				"Namespace/apps metadata.labels.team":             "<nil>",
				"Service/apps/weather metadata.labels.team":       "sky",
				"EndpointSlice/apps/weather metadata.labels.team": "sky",
				"ServiceOffer/apps/weather metadata.labels.team":  "sky",
			},
		},
		"annotations that YAML could mistake": {
			hosted("weather"), files("Kustomization", `commonAnnotations: {a: "yes", b: "0777", c: "1e3"}`),
			map[string]string{
				"ServiceOffer/apps/weather metadata.annotations.a": "yes",
				"ServiceOffer/apps/weather metadata.annotations.b": "0777",
				"ServiceOffer/apps/weather metadata.annotations.c": "1e3",
				"ServiceOffer/apps/weather spec.payment.payTo":     "0x0000000000000000000000000000000000000001",
			},
		},
		"a JSON patch": {
			hosted("weather"), files("kustomization.yml", fmt.Sprintf(patchOffer, "/spec/listing", "{weight: 3}")),
			map[string]string{"ServiceOffer/apps/weather spec.listing.weight": "3"},
		},
		"a merge patch in a file below": {
			hosted("weather"), files(
				"kustomization.yaml", "kind: Kustomization\napiVersion: kustomize.config.k8s.io/v1beta1\npatches: [{path: ./patches/offer.yaml}]",
				"patches/offer.yaml", "apiVersion: obol.org/v1alpha1\nkind: ServiceOffer\nmetadata: {name: weather, namespace: apps}\nspec: {limits: {rps: 7}}"),
			map[string]string{"ServiceOffer/apps/weather spec.limits.rps": "7"},
		},
		"images and replicas": {
			demo("hello"), files("kustomization.yaml", "images: [{name: example.org/demo, newTag: \"2\"}]\nreplicas: [{name: hello, count: 2}]"),
			map[string]string{"Deployment/demo/hello spec.replicas": "2"},
		},
		"a replacement": {
			hosted("weather"), files(
				"kustomization.yaml", "replacements: [{path: r.yaml}]",
				"r.yaml", "source: {kind: Service, fieldPath: metadata.name}\ntargets: [{select: {kind: ServiceOffer}, fieldPaths: [spec.listing.category], options: {create: true}}]"),
			map[string]string{"ServiceOffer/apps/weather spec.listing.category": "weather"},
		},
		"empty lists of what is not for overlays": {
			hosted("weather"), files("kustomization.yaml", "resources: []\nlabels: [{pairs: {team: sky}}]"),
			map[string]string{"Service/apps/weather metadata.labels.team": "sky"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.offer.Overlay = "eu"
			specs, problems := render.Specs([]offer.Offer{tc.offer}, withOverlay(tc.overlay))
			if len(problems) > 0 {
				t.Fatal(problems)
			}
			got := map[string]string{}
			for _, s := range specs {
				for where := range tc.want {
					if path, ok := strings.CutPrefix(where, s.ID.String()+" "); ok {
						v, _ := resource.Lookup(s.Object, path)
						got[where] = fmt.Sprint(v)
					}
				}
				if back := roundTrip[resource.Spec](t, s); back.Digest() != s.Digest() {
					t.Errorf("%s is not the same after a round trip", s.ID)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("values (-want +got):\n%s", diff)
			}
			if image, ok := resource.Lookup(specs[1].Object, "spec.template.spec.containers"); ok &&
				image.([]any)[0].(map[string]any)["image"] != "example.org/demo:2" {
				t.Errorf("containers = %v", image)
			}
		})
	}
}

func TestOverlaysAreRefused(t *testing.T) {
	t.Parallel()
	other := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: more}\n"
	patch := func(path, value string) fstest.MapFS {
		return files("kustomization.yaml", fmt.Sprintf(patchOffer, path, value))
	}
	patchOf := func(kind, path, value string) fstest.MapFS {
		return files("kustomization.yaml", fmt.Sprintf(`patches: [{target: {kind: %s}, options: {allowNameChange: true},
			patch: '[{"op": "replace", "path": "%s", "value": %s}]'}]`, kind, path, value))
	}
	tests := map[string]struct {
		overlay fs.FS
		want    string
	}{
		"a price":            {patch("/spec/payment/price/perRequest", `"0"`), "changes spec.payment of"},
		"a pay-to":           {patch("/spec/payment/payTo", `"0x2"`), "changes spec.payment of"},
		"another way to pay": {patch("/spec/payments", "[]"), "changes spec.payments of"},
		"a free route":       {patch("/spec/routes", "[{path: /*, gate: free}]"), "changes spec.routes of"},
		"the path":           {patch("/spec/path", "/x"), "changes spec.path of"},
		"the hostname":       {patch("/spec/hostname", "a.example.org"), "changes spec.hostname of"},
		"an undrain":         {patch("/spec/drainAt", "null"), "changes spec.drainAt of"},
		"a drain":            {patch("/spec/drainAt", `"2026-01-01T00:00:00Z"`), "changes spec.drainAt of"},
		"its grace":          {patch("/spec/drainGracePeriod", "1h"), "changes spec.drainGracePeriod of"},
		"the type":           {patch("/spec/type", "agent"), "changes spec.type of"},
		"a status":           {patch("/status", "{endpoint: /x}"), "changes status of"},
		"our label":          {patch("/metadata/labels/offers.obolctl.io~1site", "away"), `changes metadata.labels["offers.obolctl.io/site"] of`},
		"the holder": {patch("/metadata/annotations/offers.obolctl.io~1holder", "away"),
			`changes metadata.annotations["offers.obolctl.io/holder"] of`},
		"a way around the verifier": {patchOf("Service", "/spec/type", `"NodePort"`),
			"changes spec of Service/apps/weather"},
		"where the slice leads": {patchOf("EndpointSlice", "/ports/0/port", "1"),
			"changes ports of EndpointSlice/apps/weather"},
		"another name":      {files("kustomization.yaml", "namePrefix: a-"), `says "namePrefix"`},
		"another namespace": {files("kustomization.yaml", "namespace: else"), `says "namespace"`},
		"a name by a patch": {patchOf("Service", "/metadata/name", `"b"`),
			"removes or renames Service/apps/weather"},
		"an object less": {files("kustomization.yaml", "patches: [{patch: '{apiVersion: v1, kind: Service, metadata: {name: weather, namespace: apps}, $patch: delete}'}]"),
			"removes or renames Service/apps/weather"},
		"another version":         {patch("/apiVersion", "obol.org/v2"), "removes or renames ServiceOffer/apps/weather"},
		"an object more":          {files("kustomization.yaml", "resources: [more.yaml]", "more.yaml", other), `says "resources"`},
		"a remote resource":       {files("kustomization.yaml", "resources: [https://example.org/more.yaml]"), `says "resources"`},
		"a component":             {files("kustomization.yaml", "components: [../eu]"), `says "components"`},
		"a generator":             {files("kustomization.yaml", "configMapGenerator: [{name: a, literals: [b=c]}]"), `says "configMapGenerator"`},
		"a secret":                {files("kustomization.yaml", "secretGenerator: [{name: a, literals: [b=c]}]"), `says "secretGenerator"`},
		"a plugin":                {files("kustomization.yaml", "transformers: [t.yaml]"), `says "transformers"`},
		"a validator":             {files("kustomization.yaml", "validators: [t.yaml]"), `says "validators"`},
		"a chart":                 {files("kustomization.yaml", "helmCharts: [{name: a}]"), `says "helmCharts"`},
		"a remote patch":          {files("kustomization.yaml", "patches: [{path: 'https://example.org/p.yaml'}]"), "not a file of its folder"},
		"a URL in disguise":       {files("kustomization.yaml", "patches: [{path: 'https:/p.yaml'}]", "https:/p.yaml", other), "not a file of its folder"},
		"a patch from above":      {files("kustomization.yaml", "patches: [{path: ../p.yaml}]"), "not a file of its folder"},
		"a patch from the root":   {files("kustomization.yaml", "patches: [{path: /etc/passwd}]"), "not a file of its folder"},
		"replacements from above": {files("kustomization.yaml", "replacements: [{path: sub/../../p.yaml}]"), "not a file of its folder"},
		"a missing patch":         {files("kustomization.yaml", "patches: [{path: p.yaml}]"), "cannot be read: open p.yaml: file does not exist"},
		"a huge patch":            {files("kustomization.yaml", "patches: [{path: p.yaml}]", "p.yaml", strings.Repeat("#", 1<<20+1)), "larger than 1 MiB"},
		"no kustomization":        {files("offer.yaml", ""), "holds no kustomization.yaml"},
		"two kustomizations":      {files("kustomization.yaml", "", "Kustomization", ""), "holds both kustomization.yaml and Kustomization"},
		"not YAML":                {files("kustomization.yaml", "{"), "cannot be read"},
		"an unknown key":          {files("kustomization.yaml", "patchs: []"), `unknown field "patchs"`},
		"a patch for nothing":     {files("kustomization.yaml", "patches: [{patch: '{apiVersion: v1, kind: Service, metadata: {name: b}}'}]"), "does not run"},
		"a broken folder":         {brokenFS{}, "cannot be read: disk is on fire"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad, good := hosted("weather"), hosted("good")
			bad.Overlay = "eu"
			specs, problems := render.Specs([]offer.Offer{bad, good}, withOverlay(tc.overlay))
			if len(problems) != 1 || problems[0].Offer != bad.Key() || !strings.HasPrefix(problems[0].Text, `overlay "eu" `) ||
				!strings.Contains(problems[0].Text, tc.want) {
				t.Errorf("problems = %v, want one that says %q", problems, tc.want)
			}
			if len(specs) != 5 {
				t.Errorf("the other offer has specs %v", ids(specs))
			}
		})
	}
}

type brokenFS struct{}

func (brokenFS) Open(string) (fs.File, error) { return nil, errors.New("disk is on fire") }

// TestAFolderIsReadOnce: many offers may share an overlay.
func TestAFolderIsReadOnce(t *testing.T) {
	t.Parallel()
	opened := 0
	e := env
	e.Overlay = func(string) (fs.FS, error) {
		opened++
		return files("kustomization.yaml", "labels: [{pairs: {team: sky}}]"), nil
	}
	a, b := hosted("a"), hosted("b")
	a.Overlay, b.Overlay = "eu", "eu"
	specs, problems := render.Specs([]offer.Offer{a, b}, e)
	if opened != 1 || len(specs) != 10 || len(problems) > 0 {
		t.Errorf("opened %d times, %d specs, problems %v", opened, len(specs), problems)
	}
}
