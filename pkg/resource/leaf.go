package resource

import (
	"encoding/json"
	"slices"
)

// contains reports whether live says what want does, and nothing more.
func contains(live, want any) bool {
	switch want := want.(type) {
	case nil:
		return live == nil
	case map[string]any:
		live, ok := live.(map[string]any)
		return ok && saysNoMore(live, want) && saysNoMore(want, live)
	case []any:
		live, ok := live.([]any)
		return ok && slices.EqualFunc(live, want, contains)
	}
	return same(live, want)
}

// saysNoMore reports whether all that a holds is in b, or says nothing.
func saysNoMore(a, b map[string]any) bool {
	for k, v := range a {
		if other := b[k]; other == nil && !saysNothing(k, v) || other != nil && !contains(v, other) {
			return false
		}
	}
	return true
}

// filledIn are the values that the API server gives to fields of list elements
// that were left out: ports, containers and their probes, volumes, and the
// payments and routes of a ServiceOffer.
var filledIn = map[string][]any{
	"protocol":                 {"TCP"},
	"imagePullPolicy":          {"IfNotPresent", "Always"},
	"terminationMessagePath":   {"/dev/termination-log"},
	"terminationMessagePolicy": {"File"},
	"failureThreshold":         {3},
	"periodSeconds":            {10},
	"successThreshold":         {1},
	"timeoutSeconds":           {1},
	"apiVersion":               {"v1"}, // of a fieldRef
	"defaultMode":              {420},
	"scheme":                   {"HTTP", "exact"}, // of a probe; of a payment
	"maxTimeoutSeconds":        {300},
	"gate":                     {"paid"},
	"freeQuota":                {0},
}

// saysNothing reports whether a field is as good as not there.
func saysNothing(key string, v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case map[string]any:
		for k, below := range v {
			if !saysNothing(k, below) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return v == "" || slices.ContainsFunc(filledIn[key], func(d any) bool { return same(v, d) })
}

// same compares scalars. A number equals its value in any Go type.
func same(a, b any) bool {
	x, aInt := whole(a)
	y, bInt := whole(b)
	if aInt && bInt {
		return x == y
	}
	f, aNum := number(a)
	g, bNum := number(b)
	if aNum || bNum {
		return aNum && bNum && f == g
	}
	switch a.(type) {
	case string, bool:
		return a == b
	}
	return false
}

// whole gives the value of an integer that is held as one.
func whole(v any) (int64, bool) {
	switch v := v.(type) {
	case int:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case json.Number:
		n, err := v.Int64()
		return n, err == nil
	}
	return 0, false
}

// number gives the value of anything that is a number.
func number(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case json.Number:
		f, err := v.Float64()
		return f, err == nil
	}
	n, ok := whole(v)
	return float64(n), ok
}
