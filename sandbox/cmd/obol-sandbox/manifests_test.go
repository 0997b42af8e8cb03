package main_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"
)

// strictly refuses fields that the schema does not know, where the API server
// would otherwise drop them.
var strictly = metav1.CreateOptions{FieldValidation: metav1.FieldValidationStrict}

// TestAccepts makes what the real stack makes, in the same order, and checks
// that every field of it is kept.
func TestAccepts(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/accepted/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("cannot find manifests: %v", err)
	}
	s := sharedSandbox(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			for _, want := range manifests(t, file) {
				r := resource(want.GetAPIVersion(), strings.TrimSuffix(want.GetKind(), "s"))
				got, err := s.client("").Resource(r).Namespace(want.GetNamespace()).Create(t.Context(), want, strictly)
				if err != nil {
					t.Errorf("%s %s: %v", want.GetKind(), want.GetName(), err)
					continue
				}
				for _, lost := range missing("", want.Object, got.Object) {
					t.Errorf("%s %s: %s", want.GetKind(), want.GetName(), lost)
				}
			}
		})
	}
}

// manifests reads the objects of a file, or of the v1 List in it.
func manifests(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	data, err = yaml.YAMLToJSON(data)
	if err != nil {
		t.Fatal(err)
	}
	o := new(unstructured.Unstructured)
	if err := o.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	if !o.IsList() {
		return []*unstructured.Unstructured{o}
	}
	list, err := o.ToList()
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	for i := range list.Items {
		all = append(all, &list.Items[i])
	}
	return all
}

// missing says what of want is not in got.
func missing(path string, want, got any) []string {
	switch want := want.(type) {
	case map[string]any:
		got, _ := got.(map[string]any)
		var all []string
		for key, value := range want {
			if live, ok := got[key]; ok {
				all = append(all, missing(path+"."+key, value, live)...)
			} else {
				all = append(all, path+"."+key+" is gone")
			}
		}
		return all
	case []any:
		got, _ := got.([]any)
		if len(got) != len(want) {
			return []string{fmt.Sprintf("%s has %d items, not %d", path, len(got), len(want))}
		}
		var all []string
		for i := range want {
			all = append(all, missing(fmt.Sprintf("%s[%d]", path, i), want[i], got[i])...)
		}
		return all
	default:
		if diff := cmp.Diff(want, got); diff != "" {
			return []string{path + " is another: " + diff}
		}
		return nil
	}
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	payment := map[string]any{"network": "base", "payTo": wallet, "price": map[string]any{}}
	spec := map[string]any{
		"upstream":     map[string]any{"service": "x", "namespace": "llm"},
		"payment":      payment,
		"payments":     []any{payment},
		"listing":      map[string]any{},
		"routes":       []any{map[string]any{"path": "/x"}},
		"registration": map[string]any{},
		"async":        map[string]any{},
		"limits":       map[string]any{},
	}
	full := map[string]any{
		"network": "base", "payTo": wallet, "price": map[string]any{},
		"scheme": "exact", "maxTimeoutSeconds": int64(300),
	}
	want := map[string]any{
		"type":         "http",
		"upstream":     map[string]any{"service": "x", "namespace": "llm", "port": int64(11434), "healthPath": "/health"},
		"payment":      full,
		"payments":     []any{full},
		"listing":      map[string]any{"weight": int64(0), "category": ""},
		"routes":       []any{map[string]any{"path": "/x", "gate": "paid", "freeQuota": int64(0)}},
		"registration": map[string]any{"enabled": false},
		"async":        map[string]any{"enabled": false, "resultVisibility": "payer", "ttl": "72h"},
		"limits":       map[string]any{"maxInFlight": int64(0), "rps": int64(0)},
	}
	got, err := create(t.Context(), s, "ServiceOffer", "defaults", spec)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
		t.Errorf("the offer's spec (-want +got):\n%s", diff)
	}

	got, err = create(t.Context(), s, "Agent", "defaults", map[string]any{"wallet": map[string]any{}})
	if err != nil {
		t.Fatal(err)
	}
	want = map[string]any{
		"runtime": "hermes", "maxTurns": int64(30),
		"disabledToolsets": []any{"memory", "web"},
		"wallet":           map[string]any{"create": false},
	}
	if diff := cmp.Diff(want, got.Object["spec"]); diff != "" {
		t.Errorf("the agent's spec (-want +got):\n%s", diff)
	}
}

const wallet = "0x52908400098527886E0F7030069857D2E4169EE7"

func create(ctx context.Context, s sandbox, kind, name string, spec map[string]any) (*unstructured.Unstructured, error) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "obol.org/v1alpha1", "kind": kind,
		"metadata": map[string]any{"name": name}, "spec": spec,
	}}
	return s.client("").Resource(resource(o.GetAPIVersion(), kind)).Namespace("llm").Create(ctx, o, strictly)
}

// TestRefuses changes one thing in a valid spec, by a JSON merge patch.
func TestRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ kind, patch, want string }{
		"type unknown":           {"ServiceOffer", `{"type":"dataset"}`, "spec.type: Unsupported value"},
		"agent ref without name": {"ServiceOffer", `{"agent":{"ref":{"namespace":"x"}}}`, "spec.agent.ref.name: Required"},
		"agent ref without ns":   {"ServiceOffer", `{"agent":{"ref":{"name":"x"}}}`, "spec.agent.ref.namespace: Required"},
		"model without name":     {"ServiceOffer", `{"model":{"runtime":"vllm"}}`, "spec.model.name: Required"},
		"model without runtime":  {"ServiceOffer", `{"model":{"name":"x"}}`, "spec.model.runtime: Required"},
		"runtime unknown":        {"ServiceOffer", `{"model":{"name":"x","runtime":"llama.cpp"}}`, "spec.model.runtime: Unsupported value"},
		"upstream without svc":   {"ServiceOffer", `{"upstream":{"namespace":"x"}}`, "spec.upstream.service: Required"},
		"upstream without ns":    {"ServiceOffer", `{"upstream":{"service":"x"}}`, "spec.upstream.namespace: Required"},
		"port zero":              {"ServiceOffer", `{"upstream":{"service":"x","namespace":"x","port":0}}`, "spec.upstream.port: Invalid value"},
		"port too high":          {"ServiceOffer", `{"upstream":{"service":"x","namespace":"x","port":65536}}`, "spec.upstream.port: Invalid value"},
		"no payment":             {"ServiceOffer", `{"payment":null}`, "spec.payment: Required"},
		"scheme unknown":         {"ServiceOffer", `{"payment":{"scheme":"upto"}}`, "spec.payment.scheme: Unsupported value"},
		"no network":             {"ServiceOffer", `{"payment":{"network":null}}`, "spec.payment.network: Required"},
		"no wallet":              {"ServiceOffer", `{"payment":{"payTo":null}}`, "spec.payment.payTo: Required"},
		"wallet too short":       {"ServiceOffer", `{"payment":{"payTo":"0x5290"}}`, "spec.payment.payTo in body should match"},
		"no price":               {"ServiceOffer", `{"payment":{"price":null}}`, "spec.payment.price: Required"},
		"price is a number":      {"ServiceOffer", `{"payment":{"price":{"perRequest":1}}}`, "spec.payment.price.perRequest: Invalid value"},
		"price per MB":           {"ServiceOffer", `{"payment":{"price":{"perMB":"1"}}}`, "unknown field"},
		"asset address":          {"ServiceOffer", `{"payment":{"asset":{"address":"0x"}}}`, "spec.payment.asset.address in body should match"},
		"decimals negative":      {"ServiceOffer", `{"payment":{"asset":{"decimals":-1}}}`, "spec.payment.asset.decimals: Invalid value"},
		"decimals too many":      {"ServiceOffer", `{"payment":{"asset":{"decimals":256}}}`, "spec.payment.asset.decimals: Invalid value"},
		"transfer method":        {"ServiceOffer", `{"payment":{"asset":{"transferMethod":"erc20"}}}`, "spec.payment.asset.transferMethod: Unsupported value"},
		"payments without payTo": {"ServiceOffer", `{"payments":[{"network":"base","price":{}}]}`, "spec.payments[0].payTo: Required"},
		"too many routes":        {"ServiceOffer", `{"routes":[` + repeat(129, `{"path":"/x"}`) + `]}`, "spec.routes: Too many"},
		"route without path":     {"ServiceOffer", `{"routes":[{"gate":"free"}]}`, "spec.routes[0].path: Required"},
		"route without slash":    {"ServiceOffer", `{"routes":[{"path":"x"}]}`, "spec.routes[0].path in body should match"},
		"route with a question":  {"ServiceOffer", `{"routes":[{"path":"/x?y"}]}`, "spec.routes[0].path in body should match"},
		"route too long":         {"ServiceOffer", `{"routes":[{"path":"/` + strings.Repeat("x", 512) + `"}]}`, "spec.routes[0].path: Too long"},
		"method unknown":         {"ServiceOffer", `{"routes":[{"path":"/","methods":["TRACE"]}]}`, "spec.routes[0].methods[0]: Unsupported value"},
		"too many methods":       {"ServiceOffer", `{"routes":[{"path":"/","methods":[` + repeat(10, `"GET"`) + `]}]}`, "spec.routes[0].methods: Too many"},
		"gate unknown":           {"ServiceOffer", `{"routes":[{"path":"/","gate":"closed"}]}`, "spec.routes[0].gate: Unsupported value"},
		"summary too long":       {"ServiceOffer", `{"routes":[{"path":"/","summary":"` + strings.Repeat("x", 301) + `"}]}`, "spec.routes[0].summary: Too long"},
		"free quota negative":    {"ServiceOffer", `{"routes":[{"path":"/","freeQuota":-1}]}`, "spec.routes[0].freeQuota: Invalid value"},
		"path without slash":     {"ServiceOffer", `{"path":"services/x"}`, "spec.path in body should match"},
		"path with a star":       {"ServiceOffer", `{"path":"/services/*"}`, "spec.path in body should match"},
		"hostname without a dot": {"ServiceOffer", `{"hostname":"localhost"}`, "spec.hostname in body should match"},
		"hostname in capitals":   {"ServiceOffer", `{"hostname":"Example.org"}`, "spec.hostname in body should match"},
		"hostname too long":      {"ServiceOffer", `{"hostname":"` + strings.Repeat("x.", 126) + `xx"}`, "spec.hostname: Too long"},
		"branding name":          {"ServiceOffer", `{"branding":{"displayName":"` + strings.Repeat("x", 129) + `"}}`, "spec.branding.displayName: Too long"},
		"branding tagline":       {"ServiceOffer", `{"branding":{"tagline":"` + strings.Repeat("x", 257) + `"}}`, "spec.branding.tagline: Too long"},
		"branding theme":         {"ServiceOffer", `{"branding":{"theme":"pink"}}`, "spec.branding.theme: Unsupported value"},
		"branding colour":        {"ServiceOffer", `{"branding":{"accentColor":"red"}}`, "spec.branding.accentColor in body should match"},
		"provenance number":      {"ServiceOffer", `{"provenance":{"paramCount":7}}`, "spec.provenance.paramCount: Invalid value"},
		"registration service":   {"ServiceOffer", `{"registration":{"services":[{"name":"web"}]}}`, "spec.registration.services[0].endpoint: Required"},
		"registration unnamed":   {"ServiceOffer", `{"registration":{"services":[{"endpoint":"x"}]}}`, "spec.registration.services[0].name: Required"},
		"result visibility":      {"ServiceOffer", `{"async":{"resultVisibility":"nobody"}}`, "spec.async.resultVisibility: Unsupported value"},
		"in flight negative":     {"ServiceOffer", `{"limits":{"maxInFlight":-1}}`, "spec.limits.maxInFlight: Invalid value"},
		"rps negative":           {"ServiceOffer", `{"limits":{"rps":-1}}`, "spec.limits.rps: Invalid value"},
		"drain at no time":       {"ServiceOffer", `{"drainAt":"tomorrow"}`, "spec.drainAt in body must be of type date-time"},
		"field unknown":          {"ServiceOffer", `{"dataset":{"version":"1"}}`, `unknown field "spec.dataset"`},

		"agent runtime":          {"Agent", `{"runtime":"openclaw"}`, "spec.runtime: Unsupported value"},
		"agent model too long":   {"Agent", `{"model":"` + strings.Repeat("x", 257) + `"}`, "spec.model: Too long"},
		"agent model provider":   {"Agent", `{"modelProvider":"` + strings.Repeat("x", 65) + `"}`, "spec.modelProvider: Too long"},
		"agent skill name":       {"Agent", `{"skills":["Gas"]}`, "spec.skills[0] in body should match"},
		"agent skill too long":   {"Agent", `{"skills":["` + strings.Repeat("x", 65) + `"]}`, "spec.skills[0]: Too long"},
		"agent skills":           {"Agent", `{"skills":[` + repeat(65, `"gas"`) + `]}`, "spec.skills: Too many"},
		"agent objective":        {"Agent", `{"objective":"` + strings.Repeat("x", 4097) + `"}`, "spec.objective: Too long"},
		"agent server unnamed":   {"Agent", `{"mcpServers":[{"command":"x"}]}`, "spec.mcpServers[0].name: Required"},
		"agent server name":      {"Agent", `{"mcpServers":[{"name":"-x"}]}`, "spec.mcpServers[0].name in body should match"},
		"agent server args":      {"Agent", `{"mcpServers":[{"name":"x","args":[` + repeat(65, `"y"`) + `]}]}`, "spec.mcpServers[0].args: Too many"},
		"agent server timeout":   {"Agent", `{"mcpServers":[{"name":"x","timeout":0}]}`, "spec.mcpServers[0].timeout: Invalid value"},
		"agent servers":          {"Agent", `{"mcpServers":[` + repeat(33, `{"name":"x"}`) + `]}`, "spec.mcpServers: Too many"},
		"agent turns zero":       {"Agent", `{"maxTurns":0}`, "spec.maxTurns: Invalid value"},
		"agent turns too many":   {"Agent", `{"maxTurns":10001}`, "spec.maxTurns: Invalid value"},
		"agent toolsets":         {"Agent", `{"disabledToolsets":[` + repeat(33, `"x"`) + `]}`, "spec.disabledToolsets: Too many"},
		"agent wallet not bool":  {"Agent", `{"wallet":{"create":"yes"}}`, "spec.wallet.create: Invalid value"},
		"agent server many envs": {"Agent", `{"mcpServers":[{"name":"x","env":{` + envs(65) + `}}]}`, "spec.mcpServers[0].env: Too many"},
	}
	s := sharedSandbox(t)
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := merge(bare(tc.kind), decode(t, tc.patch))
			_, err := create(t.Context(), s, tc.kind, strings.ReplaceAll(name, " ", "-"), spec)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("want %q, got %v", tc.want, err)
			}
		})
	}
}

// TestAcceptsTheEdges is the other side of TestRefuses: each value of an enum,
// and each limit itself.
func TestAcceptsTheEdges(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"ServiceOffer": {
			`{"type":"fine-tuning"}`, `{"type":"agent"}`, `{"agent":{}}`,
			`{"model":{"name":"org/x","runtime":"vllm"}}`, `{"model":{"name":"x","runtime":"tgi"}}`,
			`{"upstream":{"service":"x","namespace":"y","port":1}}`,
			`{"payment":{"maxTimeoutSeconds":-1,"price":{"perRequest":"$1,5","perMTok":""}}}`,
			`{"payment":{"asset":{"transferMethod":"eip3009","decimals":255}}}`,
			`{"routes":[` + repeat(128, `{"path":"/x"}`) + `]}`,
			`{"routes":[{"path":"/` + strings.Repeat("x", 511) + `","summary":"` + strings.Repeat("x", 300) + `","price":{}}]}`,
			`{"routes":[{"path":"/","methods":[` + repeat(9, `"GET"`) + `]}]}`,
			`{"path":"/"}`, `{"hostname":"` + strings.Repeat("x.", 126) + `x"}`,
			`{"branding":{"theme":"light","accentColor":"#fff"}}`, `{"branding":{"theme":"dark","accentColor":"#ffffffff"}}`,
			`{"branding":{"displayName":"` + strings.Repeat("x", 128) + `","tagline":"` + strings.Repeat("x", 256) + `"}}`,
			`{"async":{"resultVisibility":"payer"}}`,
		},
		"Agent": {
			`{"model":"` + strings.Repeat("x", 256) + `","modelProvider":"` + strings.Repeat("x", 64) + `"}`,
			`{"skills":[` + repeat(64, `"`+strings.Repeat("x", 64)+`"`) + `]}`,
			`{"objective":"` + strings.Repeat("x", 4096) + `"}`, `{"maxTurns":1}`,
			`{"mcpServers":[` + repeat(32, `{"name":"x","timeout":1,"args":[`+repeat(64, `"y"`)+`]}`) + `]}`,
			`{"mcpServers":[{"name":"x","env":{` + envs(64) + `}}]}`,
			`{"disabledToolsets":[` + repeat(32, `"x"`) + `]}`,
		},
	}
	s := sharedSandbox(t)
	for kind, patches := range tests {
		for i, patch := range patches {
			t.Run(fmt.Sprint(kind, i), func(t *testing.T) {
				t.Parallel()
				want := merge(bare(kind), decode(t, patch))
				got, err := create(t.Context(), s, kind, fmt.Sprint("edge-", i), want)
				if err != nil {
					t.Fatalf("%s: %v", patch, err)
				}
				for _, lost := range missing("spec", number(want), number(got.Object["spec"])) {
					t.Error(lost)
				}
			})
		}
	}
}

// bare is the least spec that is accepted.
func bare(kind string) map[string]any {
	if kind != "ServiceOffer" {
		return map[string]any{}
	}
	return map[string]any{"payment": map[string]any{"network": "base", "payTo": wallet, "price": map[string]any{}}}
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func repeat(n int, item string) string {
	return strings.TrimSuffix(strings.Repeat(item+",", n), ",")
}

func envs(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf(`"V%d":"x"`, i))
	}
	return strings.Join(all, ",")
}

// merge applies a JSON merge patch (RFC 7396) in place.
func merge(to, patch map[string]any) map[string]any {
	for key, value := range patch {
		below, ok := value.(map[string]any)
		switch {
		case value == nil:
			delete(to, key)
		case ok:
			old, _ := to[key].(map[string]any)
			if old == nil {
				old = map[string]any{}
			}
			to[key] = merge(old, below)
		default:
			to[key] = value
		}
	}
	return to
}

// TestListsAreOneValue: the writer of a list that is forced replaces all of it.
func TestListsAreOneValue(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	apply := func(manager string, paths ...string) *unstructured.Unstructured {
		var routes []any
		for _, p := range paths {
			routes = append(routes, map[string]any{"path": p})
		}
		o := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "obol.org/v1alpha1", "kind": "ServiceOffer", "metadata": map[string]any{"name": "lists"},
			"spec": map[string]any{
				"payment": map[string]any{"network": "base", "payTo": wallet, "price": map[string]any{}},
				"routes":  routes,
			},
		}}
		got, err := s.client("").Resource(offers).Namespace("llm").
			Apply(t.Context(), "lists", o, metav1.ApplyOptions{FieldManager: manager, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	apply("one", "/a", "/b")
	got := apply("two", "/c")
	routes, _, _ := unstructured.NestedSlice(got.Object, "spec", "routes")
	want := []any{map[string]any{"path": "/c", "gate": "paid", "freeQuota": int64(0)}}
	if diff := cmp.Diff(want, routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
}

// TestStatusIsApart: the status has an endpoint of its own, and takes what the
// controller writes.
func TestStatusIsApart(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	tests := map[string]string{
		"ServiceOffer": `{"conditions":[{"type":"Ready","status":"True","reason":"Reconciled","message":"m",
			"lastTransitionTime":"2026-11-23T10:00:00Z"},{"type":"Draining","status":"Unknown"}],
			"endpoint":"/services/x","agentId":"7","registrationTxHash":"0x1","observedGeneration":1,
			"agentResolution":{"model":"m","skills":["gas"],"runtime":"hermes","endpoint":"http://x"}}`,
		"Agent": `{"phase":"Provisioning","pinnedModel":"m","observedGeneration":1,"endpoint":"http://x",
			"walletAddress":"` + wallet + `","conditions":[{"type":"Ready","status":"False"}]}`,
	}
	for kind, status := range tests {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			o, err := create(t.Context(), s, kind, "status", bare(kind))
			if err != nil {
				t.Fatal(err)
			}
			var want map[string]any
			if err := yaml.Unmarshal([]byte(status), &want); err != nil {
				t.Fatal(err)
			}
			patch := []byte(`{"spec":{"path":"/ignored"},"status":` + status + `}`)
			r := s.client("").Resource(resource(o.GetAPIVersion(), kind)).Namespace("llm")
			got, err := r.Patch(t.Context(), "status", "application/merge-patch+json", patch, metav1.PatchOptions{}, "status")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(number(want), number(got.Object["status"])); diff != "" {
				t.Errorf("status (-want +got):\n%s", diff)
			}
			if got.GetGeneration() != o.GetGeneration() {
				t.Error("a write of the status changed the spec")
			}
			for _, wrong := range []string{`[{"type":"Ready"}]`, `[{"status":"True"}]`, `[{"type":"Ready","status":"Maybe"}]`} {
				patch := []byte(`{"status":{"conditions":` + wrong + `}}`)
				if _, err := r.Patch(t.Context(), "status", "application/merge-patch+json", patch, metav1.PatchOptions{}, "status"); err == nil {
					t.Errorf("conditions %s are accepted", wrong)
				}
			}
		})
	}
}

// number makes values from different decoders comparable.
func number(v any) (same any) {
	data, _ := json.Marshal(v)
	_ = json.Unmarshal(data, &same)
	return same
}

// TestNames: kubectl get so shows what it shows on the real stack.
func TestNames(t *testing.T) {
	t.Parallel()
	s := sharedSandbox(t)
	client, err := discovery.NewDiscoveryClientForConfig(s.config(""))
	if err != nil {
		t.Fatal(err)
	}
	served, err := client.ServerResourcesForGroupVersion("obol.org/v1alpha1")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, r := range served.APIResources {
		got[r.Name] = fmt.Sprintf("%s %s %v namespaced=%t", r.Kind, r.SingularName, r.ShortNames, r.Namespaced)
	}
	want := map[string]string{
		"serviceoffers":        "ServiceOffer serviceoffer [so] namespaced=true",
		"serviceoffers/status": "ServiceOffer  [] namespaced=true",
		"agents":               "Agent agent [ag] namespaced=true",
		"agents/status":        "Agent  [] namespaced=true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("resources (-want +got):\n%s", diff)
	}

	clients, err := kubernetes.NewForConfig(s.config(""))
	if err != nil {
		t.Fatal(err)
	}
	data, err := clients.RESTClient().Get().AbsPath("/apis/obol.org/v1alpha1/serviceoffers").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	var columns []string
	for _, c := range table.ColumnDefinitions {
		columns = append(columns, c.Name)
	}
	if diff := cmp.Diff([]string{"Name", "Type", "Model", "Price", "Network", "Ready", "Age"}, columns); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
}
