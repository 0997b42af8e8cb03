package render_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/render"
	"github.com/obolctl/obolctl/pkg/resource"
)

// withoutEffect are the fields of an offer that no spec holds, and who acts on
// them instead.
var withoutEffect = []string{
	"AgentRef.OwnPayTo",       // plan: it compares and fills in the agent's wallet
	"AgentRef.Wallet",         // plan
	"Drain.At.File",           // plan: marks own drains
	"Drain.At.Line",           //
	"Drain.Grace",             //
	"Drain.Reason",            //
	"Gateway.Declared",        // offer.AssignPorts
	"Lifecycle.Accept",        // offerfile
	"Lifecycle.IgnoreChanges", // plan
	"Lifecycle.OnLiveDelete",  // plan
	"Lifecycle.PreventDelete", // plan
}

// TestEveryFieldReachesASpec fills an offer of each shape to the brim, changes
// one field after the other, and looks whether any spec changes. A field that is
// new in offer.Offer fails it until it is rendered or listed above.
func TestEveryFieldReachesASpec(t *testing.T) {
	t.Parallel()
	effect := map[string]bool{}
	for _, shape := range shapes() {
		before := rendered(t, shape)
		leaves(reflect.ValueOf(&shape).Elem(), "", func() {}, func(path string, leaf reflect.Value, store func()) {
			old := reflect.New(leaf.Type()).Elem()
			old.Set(leaf)
			change(path, leaf)
			store()
			effect[path] = effect[path] || rendered(t, shape) != before
			leaf.Set(old)
			store()
		})
		if rendered(t, shape) != before {
			t.Fatal("the offer is not as it was")
		}
	}
	var without []string
	for _, path := range slices.Sorted(maps.Keys(effect)) {
		if !effect[path] {
			without = append(without, path)
		}
	}
	if diff := cmp.Diff(withoutEffect, without); diff != "" {
		t.Errorf("fields without effect (-want +got):\n%s", diff)
	}
	if len(effect) < 80 {
		t.Errorf("only %d fields were looked at", len(effect))
	}
}

// TestFieldsAreThoseRendered renders offers filled to the brim, and finds the
// fields that are listed: no more, and no less.
func TestFieldsAreThoseRendered(t *testing.T) {
	t.Parallel()
	var offers []offer.Offer
	for _, unit := range []offer.Unit{offer.PerRequest, offer.PerMTok, offer.PerHour, offer.PerEpoch} {
		for _, o := range shapes() {
			o.Name += strconv.Itoa(len(offers))
			o.Payments[0].Price.Unit = unit
			offers = append(offers, o)
		}
	}
	anyKey := []string{"metadata.annotations", "metadata.labels", "spec.provenance", "spec.registration.metadata", "spec.template.metadata.labels"}
	found := map[string]bool{}
	for _, s := range first(render.Specs(offers, env)) {
		for path := range resource.Leaves(s.Object) {
			for _, m := range anyKey {
				if resource.Under(path, m) {
					path = m + ".*"
				}
			}
			found[path] = true
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(found)), render.Fields()); diff != "" {
		t.Errorf("fields (-rendered +listed):\n%s", diff)
	}
}

// shapes are offers of every type with every field filled that the type has.
func shapes() []offer.Offer {
	filled := func(adjust func(*offer.Offer)) offer.Offer {
		var o offer.Offer
		fill(reflect.ValueOf(&o).Elem())
		o.Overlay, o.Standalone, o.Gateway.Address = "", false, ""
		o.Payments = append(o.Payments, o.Payments[0])
		for i := range o.Payments {
			o.Payments[i].Price.Unit = offer.PerRequest
		}
		o.Routes[0].Price.Unit = offer.PerRequest
		adjust(&o)
		return o
	}
	return []offer.Offer{
		filled(func(o *offer.Offer) { o.Type, o.AgentRef = offer.Inference, offer.AgentRef{} }),
		filled(func(o *offer.Offer) { o.Type, o.AgentRef, o.Upstream.URL = offer.HTTP, offer.AgentRef{}, "" }),
		filled(func(o *offer.Offer) {
			o.Type, o.AgentRef, o.Standalone, o.Gateway.Address = offer.HTTP, offer.AgentRef{}, true, "192.0.2.1"
		}),
		filled(func(o *offer.Offer) { o.Type, o.Upstream = offer.Agent, offer.Upstream{} }),
		filled(func(o *offer.Offer) { o.Type, o.Upstream, o.AgentRef = offer.Demo, offer.Upstream{}, offer.AgentRef{} }),
	}
}

func rendered(t *testing.T, o offer.Offer) string {
	t.Helper()
	text, err := json.Marshal(first(render.Specs([]offer.Offer{o}, env)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func first[A, B any](a A, _ B) A { return a }

// fill gives every field below v a value.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString("x")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
		if v.Type() == reflect.TypeFor[time.Duration]() {
			v.SetInt(int64(3 * time.Second))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("k"), value)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
		panic("an offer has a field of kind " + v.Kind().String())
	}
}

// leaves visits every field below v, the first element of each list. What is
// changed in a leaf takes hold when store is called.
func leaves(v reflect.Value, path string, store func(), visit func(path string, leaf reflect.Value, store func())) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			leaves(v.Elem(), path, store, visit)
		}
	case reflect.Slice:
		if v.Len() > 0 {
			leaves(v.Index(0), path, store, visit)
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			value := reflect.New(v.Type().Elem()).Elem()
			value.Set(v.MapIndex(key))
			leaves(value, path, func() { v.SetMapIndex(key, value) }, visit)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			leaves(v.Field(i), strings.TrimPrefix(path+"."+v.Type().Field(i).Name, "."), store, visit)
		}
	default:
		visit(path, v, store)
	}
}

// change gives a field another value, and one that makes sense where any other
// would not do.
func change(path string, leaf reflect.Value) {
	sensible := map[string]string{"Payments.Price.Unit": string(offer.PerHour), "Routes.Price.Unit": string(offer.PerHour), "Gateway.Address": "192.0.2.2"}
	switch leaf.Kind() {
	case reflect.String:
		leaf.SetString(leaf.String() + "z")
		if text, ok := sensible[path]; ok {
			leaf.SetString(text)
		}
	case reflect.Bool:
		leaf.SetBool(!leaf.Bool())
	default:
		leaf.SetInt(leaf.Int() * 2)
	}
}
