package resource

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// A Difference is one leaf in which two objects differ.
//
// Paths are dotted, such as spec.payment.price.perRequest; a key that is not
// made of letters, digits, "_" and "-" alone stands in brackets and quotes:
// metadata.annotations["offers.obolctl.io/address"]. Lists are leaves: spec.routes.
type Difference struct {
	Path   string `json:"path"`
	Before any    `json:"before"` // nil when it is not there
	After  any    `json:"after"`  // nil when it goes

	// Writer wrote Before; zero when nobody else than us did.
	Writer    string    `json:"writer,omitempty"`
	WrittenAt time.Time `json:"written_at,omitzero"`
}

// Differences compares what an object should be with what it is: the leaves of
// want that live lacks or has otherwise, and the owned leaves that live has and
// want no longer does (their After is nil). Sorted by path. owned holds the
// paths that our field manager owns; what neither want has nor we own is
// somebody else's and never mentioned.
//
// Identity and what only the server writes are not compared: apiVersion, kind,
// status, and of metadata all that is neither a label, an annotation, an owner
// nor a finalizer. A null in either object is the same as nothing there. Numbers
// are compared by value, whatever their Go type.
//
// Lists, and the maps that the API server replaces as a whole, are leaves. They
// are equal when their elements are, in order. A map among the elements may hold
// more than the other only where that says nothing new: an empty value, or what
// the API server fills in by itself. Anything else was once applied by us, or
// was written by somebody; that it is not in want must show, since it may be a
// route's price.
//
// An empty map or list that is wanted and not there is a difference, except in
// metadata: a custom resource keeps an empty field, while labels, annotations,
// owners and finalizers are dropped from any object when they are empty.
func Differences(want, live map[string]any, owned map[string]bool) []Difference {
	var d differ
	d.compare("", want, live)
	for _, path := range slices.Sorted(maps.Keys(owned)) { // a path before what is under it
		d.gone(path, want, live)
	}
	slices.SortFunc(d.found, func(a, b Difference) int { return strings.Compare(a.Path, b.Path) })
	return d.found
}

// Leaves gives the paths of all leaves that [Differences] would compare: what
// our field manager owns of an object that it alone has written.
func Leaves(obj map[string]any) map[string]bool {
	leaves := make(map[string]bool)
	for _, d := range Differences(obj, nil, nil) {
		leaves[d.Path] = true
	}
	return leaves
}

// metadata that is compared. All else in it is identity, or the server's.
var compared = map[string]bool{"labels": true, "annotations": true, "ownerReferences": true, "finalizers": true}

// atomic are the maps of the kinds we make that the API server replaces whole.
var atomic = map[string]bool{"spec.selector": true, "spec.template.spec.nodeSelector": true}

// IsLeaf reports whether a value at a path is one leaf: all that is no map, and
// maps that are empty or that the API server replaces as a whole.
func IsLeaf(path string, value any) bool {
	m, isMap := value.(map[string]any)
	return !isMap || len(m) == 0 || atomic[path]
}

// A differ gathers differences.
type differ struct{ found []Difference }

// compare walks the maps of want.
func (d *differ) compare(path string, want, live map[string]any) {
	for key, w := range want {
		if w != nil && !ignored(path, key) {
			d.field(join(path, key), w, live[key])
		}
	}
}

// field compares one wanted field. An empty map asks for nothing in a map that
// is there.
func (d *differ) field(path string, want, live any) {
	wm, isMap := want.(map[string]any)
	lm, liveIsMap := live.(map[string]any)
	switch {
	case isMap && !atomic[path] && (liveIsMap || live == nil && len(wm) > 0):
		d.compare(path, wm, lm)
	case live == nil && empty(want) && Under(path, "metadata"):
	case !contains(live, want):
		d.found = append(d.found, Difference{Path: path, Before: live, After: want})
	}
}

// gone notes an owned leaf that want no longer has.
func (d *differ) gone(path string, want, live map[string]any) {
	keys, err := ParsePath(path)
	if err != nil || ignored("", keys[0]) || len(keys) > 1 && ignored(keys[0], keys[1]) {
		return
	}
	w, _ := lookup(want, keys)
	l, _ := lookup(live, keys)
	if w != nil || l == nil {
		return
	}
	if !IsLeaf(path, l) {
		return // the map itself is owned by all who own something in it
	}
	for _, f := range d.found {
		if Under(path, f.Path) {
			return // goes with what holds it
		}
	}
	d.found = append(d.found, Difference{Path: path, Before: l})
}

// ignored reports whether a field, at the root or one below it, is not compared.
func ignored(path, key string) bool {
	switch path {
	case "":
		return key == "apiVersion" || key == "kind" || key == "status"
	case "metadata":
		return !compared[key]
	}
	return false
}

// empty reports whether v is a map or list without content.
func empty(v any) bool {
	switch v := v.(type) {
	case map[string]any:
		return len(v) == 0
	case []any:
		return len(v) == 0
	}
	return false
}
