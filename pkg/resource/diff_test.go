package resource_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/resource"
)

// object reads JSON as a cluster's answer is read.
func object(t testing.TB, text string) map[string]any {
	t.Helper()
	var obj map[string]any
	if err := json.Unmarshal([]byte(text), &obj); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return obj
}

func TestDifferences(t *testing.T) {
	t.Parallel()
	type change struct{ path, before, after string } // values as JSON; null is not there
	tests := map[string]struct {
		want, live string
		owned      []string
		changes    []change
	}{
		"equal": {
			want: `{"spec":{"type":"http","payment":{"price":{"perRequest":"1"}}}}`,
			live: `{"spec":{"type":"http","payment":{"price":{"perRequest":"1"}}}}`,
		},
		"absent: every leaf": {
			want:    `{"spec":{"type":"http","payment":{"payTo":"0x1"}}}`,
			live:    `{}`,
			changes: []change{{"spec.payment.payTo", "null", `"0x1"`}, {"spec.type", "null", `"http"`}},
		},
		"another value": {
			want:    `{"spec":{"payment":{"price":{"perRequest":"1"}}}}`,
			live:    `{"spec":{"payment":{"price":{"perRequest":"2"}}}}`,
			changes: []change{{"spec.payment.price.perRequest", `"2"`, `"1"`}},
		},
		"what others have is theirs": {
			want: `{"spec":{"type":"http"}}`,
			live: `{"spec":{"type":"http","drainAt":"2026-01-01T00:00:00Z"},"metadata":{"annotations":{"a":"b"}}}`,
		},
		"owned and no longer wanted": {
			want:    `{"spec":{"type":"http"}}`,
			live:    `{"spec":{"type":"http","listing":{"weight":3},"path":"/x"}}`,
			owned:   []string{"spec.type", "spec.listing", "spec.listing.weight"},
			changes: []change{{"spec.listing.weight", "3", "null"}},
		},
		"owned, no longer wanted, and gone already": {
			want:  `{"spec":{"type":"http"}}`,
			live:  `{"spec":{"type":"http","listing":null}}`,
			owned: []string{"spec.type", "spec.listing.weight", "spec.listing"},
		},
		"an owned empty map": {
			want:    `{"spec":{"type":"http"}}`,
			live:    `{"spec":{"type":"http","async":{}}}`,
			owned:   []string{"spec.async"},
			changes: []change{{"spec.async", "{}", "null"}},
		},
		"neither malformed paths nor what is not compared can be owned": {
			want:  `{"spec":{"type":"http"}}`,
			live:  `{"kind":"A","metadata":{"uid":"u"},"spec":{"type":"http"},"status":"s"}`,
			owned: []string{"", "spec[", "metadata.uid", "status", "kind"},
		},
		"identity, the server's fields and status are not compared": {
			want: `{"apiVersion":"v1","kind":"A","metadata":{"name":"a","namespace":"n","generation":2},"status":{"x":1}}`,
			live: `{"apiVersion":"v2","kind":"B","metadata":{"name":"b","uid":"u","generation":1},"status":{"x":2}}`,
		},
		"labels, annotations and finalizers are": {
			want: `{"metadata":{"labels":{"l":"1"},"annotations":{"a.b/c":"1"},"finalizers":["f"]}}`,
			live: `{"metadata":{"labels":{"l":"2"}}}`,
			changes: []change{
				{`metadata.annotations["a.b/c"]`, "null", `"1"`},
				{"metadata.finalizers", "null", `["f"]`},
				{"metadata.labels.l", `"2"`, `"1"`},
			},
		},
		"a map where a value is": {
			want:    `{"spec":{"a":{"b":1}}}`,
			live:    `{"spec":{"a":"x"}}`,
			owned:   []string{"spec.a"},
			changes: []change{{"spec.a", `"x"`, `{"b":1}`}},
		},
		"a value where an owned map is": {
			want:    `{"spec":{"a":"x"}}`,
			live:    `{"spec":{"a":{"b":1}}}`,
			owned:   []string{"spec.a.b"},
			changes: []change{{"spec.a", `{"b":1}`, `"x"`}},
		},
		"a wanted null asks for nothing": {
			want: `{"spec":{"drainAt":null,"a":{"b":null}}}`,
			live: `{"spec":{"drainAt":"2026-01-01T00:00:00Z"}}`,
		},
		"a null is not there": {
			want:    `{"spec":{"a":"x"}}`,
			live:    `{"spec":{"a":null}}`,
			changes: []change{{"spec.a", "null", `"x"`}},
		},
		"empty metadata is dropped by the server": {
			want: `{"metadata":{"labels":{},"annotations":{},"finalizers":[]}}`,
			live: `{"metadata":{}}`,
		},
		"an empty field of a custom resource is kept": {
			want: `{"spec":{"routes":[],"branding":{}}}`,
			live: `{"spec":{}}`,
			changes: []change{
				{"spec.branding", "null", "{}"},
				{"spec.routes", "null", "[]"},
			},
		},
		"an empty map asks for nothing in it": {
			want: `{"spec":{"branding":{}}}`,
			live: `{"spec":{"branding":{"theme":"dark"}}}`,
		},
		"ports as the server completes them": {
			want: `{"spec":{"ports":[{"name":"http","port":80}]}}`,
			live: `{"spec":{"ports":[{"name":"http","port":80,"protocol":"TCP"}]}}`,
		},
		"a port as somebody changed it": {
			want:    `{"spec":{"ports":[{"name":"http","port":80}]}}`,
			live:    `{"spec":{"ports":[{"name":"http","port":80,"protocol":"UDP"}]}}`,
			changes: []change{{"spec.ports", `[{"name":"http","port":80,"protocol":"UDP"}]`, `[{"name":"http","port":80}]`}},
		},
		"a container as the server completes it": {
			want: `{"spec":{"template":{"spec":{"containers":[{"name":"demo","readinessProbe":{"httpGet":{"path":"/health","port":"http"}}}]}}}}`,
			live: `{"spec":{"template":{"spec":{"restartPolicy":"Always","containers":[{"name":"demo","resources":{},
				"imagePullPolicy":"IfNotPresent","terminationMessagePath":"/dev/termination-log","terminationMessagePolicy":"File",
				"readinessProbe":{"failureThreshold":3,"periodSeconds":10,"successThreshold":1,"timeoutSeconds":1,
					"httpGet":{"path":"/health","port":"http","scheme":"HTTP"}}}]}}}}`,
		},
		"a container that runs as root since somebody said so": {
			want: `{"spec":{"containers":[{"name":"demo"}]}}`,
			live: `{"spec":{"containers":[{"name":"demo","securityContext":{"runAsUser":0}}]}}`,
			changes: []change{{"spec.containers", `[{"name":"demo","securityContext":{"runAsUser":0}}]`,
				`[{"name":"demo"}]`}},
		},
		"routes as the server completes them": {
			want: `{"spec":{"routes":[{"path":"/*"}],"payments":[{"network":"base"}]}}`,
			live: `{"spec":{"routes":[{"path":"/*","gate":"paid","freeQuota":0}],
				"payments":[{"network":"base","scheme":"exact","maxTimeoutSeconds":300}]}}`,
		},
		"a probe that says only what is so anyway": {
			want: `{"spec":{"containers":[{"name":"demo"}]}}`,
			live: `{"spec":{"containers":[{"name":"demo","startupProbe":{"periodSeconds":10,"httpGet":{"scheme":"HTTP"}}}]}}`,
		},
		"a probe that somebody added": {
			want: `{"spec":{"containers":[{"name":"demo"}]}}`,
			live: `{"spec":{"containers":[{"name":"demo","startupProbe":{"periodSeconds":10,"exec":{"command":["x"]}}}]}}`,
			changes: []change{{"spec.containers", `[{"name":"demo","startupProbe":{"exec":{"command":["x"]},"periodSeconds":10}}]`,
				`[{"name":"demo"}]`}},
		},
		"a route's own price, taken away": {
			want: `{"spec":{"routes":[{"path":"/*","gate":"paid"}]}}`,
			live: `{"spec":{"routes":[{"path":"/*","gate":"paid","price":{"perRequest":"9"}}]}}`,
			changes: []change{{"spec.routes", `[{"gate":"paid","path":"/*","price":{"perRequest":"9"}}]`,
				`[{"gate":"paid","path":"/*"}]`}},
		},
		"a list in another order": {
			want:    `{"spec":{"l":["a","b"]}}`,
			live:    `{"spec":{"l":["b","a"]}}`,
			changes: []change{{"spec.l", `["b","a"]`, `["a","b"]`}},
		},
		"a longer list": {
			want:    `{"spec":{"l":["a"]}}`,
			live:    `{"spec":{"l":["a","b"]}}`,
			changes: []change{{"spec.l", `["a","b"]`, `["a"]`}},
		},
		"a selector is replaced whole": {
			want:    `{"spec":{"selector":{"app":"a"}}}`,
			live:    `{"spec":{"selector":{"app":"a","more":"b"}}}`,
			owned:   []string{"spec.selector"},
			changes: []change{{"spec.selector", `{"app":"a","more":"b"}`, `{"app":"a"}`}},
		},
		"an owned selector that is no longer wanted": {
			want:    `{"spec":{}}`,
			live:    `{"spec":{"selector":{"app":"a"}}}`,
			owned:   []string{"spec.selector", "spec.selector.app"},
			changes: []change{{"spec.selector", `{"app":"a"}`, "null"}},
		},
		"true is not 1, and 1 is not its text": {
			want:    `{"spec":{"a":true,"b":1,"c":"1"}}`,
			live:    `{"spec":{"a":1,"b":"1","c":1}}`,
			changes: []change{{"spec.a", "1", "true"}, {"spec.b", `"1"`, "1"}, {"spec.c", "1", `"1"`}},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			owned := make(map[string]bool)
			for _, path := range tc.owned {
				owned[path] = true
			}
			var got []change
			for _, d := range resource.Differences(object(t, tc.want), object(t, tc.live), owned) {
				got = append(got, change{d.Path, text(t, d.Before), text(t, d.After)})
			}
			if diff := cmp.Diff(tc.changes, got, cmp.AllowUnexported(change{})); diff != "" {
				t.Errorf("differences (-want +got):\n%s", diff)
			}
		})
	}
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestNumbersAreComparedByValue(t *testing.T) {
	t.Parallel()
	eight := []any{8, int32(8), int64(8), float64(8), json.Number("8"), json.Number("8.0")}
	for _, a := range eight {
		for _, b := range eight {
			want, live := map[string]any{"n": a, "l": []any{a}}, map[string]any{"n": b, "l": []any{b}}
			if d := resource.Differences(want, live, nil); len(d) > 0 {
				t.Errorf("%T %v against %T %v: %v", a, a, b, b, d)
			}
			if d := resource.Differences(want, map[string]any{"n": 9, "l": []any{b, b}}, nil); len(d) != 2 {
				t.Errorf("%T %v against 9 and a longer list: %v", a, a, d)
			}
		}
	}
	big, next := int64(1<<53), int64(1<<53+1)
	if d := resource.Differences(map[string]any{"n": big}, map[string]any{"n": next}, nil); len(d) != 1 {
		t.Errorf("%d against %d: %v", big, next, d)
	}
}

// TestLeavesAreWhatWeOwnAlone: an object against its own leaves, then emptied.
func TestLeavesAreWhatWeOwnAlone(t *testing.T) {
	t.Parallel()
	obj := object(t, `{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","labels":{"x.y/z":"1"}},
		"spec":{"selector":{"app":"a"},"ports":[{"port":80}],"type":"ClusterIP"}}`)
	want := map[string]bool{`metadata.labels["x.y/z"]`: true, "spec.selector": true, "spec.ports": true, "spec.type": true}
	if diff := cmp.Diff(want, resource.Leaves(obj)); diff != "" {
		t.Errorf("leaves (-want +got):\n%s", diff)
	}
	if d := resource.Differences(nil, obj, resource.Leaves(obj)); len(d) != len(want) {
		t.Errorf("nothing wanted: %v", d)
	}
}
