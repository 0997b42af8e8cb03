package kube

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/obolctl/obolctl/pkg/resource"
)

// newObject makes a sighting of a decoded object, which it takes over. Reading
// who wrote what is half of the work, so it is left out where nobody asks.
func newObject(k kind, content map[string]any, withWriters bool) (resource.ID, *resource.Object) {
	content["apiVersion"], content["kind"] = k.apiVersion, k.name // lists of core objects leave them out
	meta, _ := content["metadata"].(map[string]any)
	id := resource.ID{Kind: k.name, Namespace: str(meta["namespace"]), Name: str(meta["name"])}
	obj := &resource.Object{
		UID:             str(meta["uid"]),
		ResourceVersion: str(meta["resourceVersion"]),
		Created:         moment(meta["creationTimestamp"]),
		Going:           meta["deletionTimestamp"] != nil,
		Content:         content,
	}
	if withWriters {
		obj.Writers = writers(meta["managedFields"], content)
	}
	delete(meta, "managedFields")
	return id, obj
}

func writers(managed any, content map[string]any) []resource.Writer {
	list, _ := managed.([]any)
	var out []resource.Writer
	for _, entry := range list {
		e, ok := entry.(map[string]any)
		if !ok {
			continue
		}
		fields, _ := e["fieldsV1"].(map[string]any)
		w := resource.Writer{
			Manager:     str(e["manager"]),
			Operation:   str(e["operation"]),
			Subresource: str(e["subresource"]),
			At:          moment(e["time"]),
			Paths:       map[string]bool{},
		}
		leaves(fields, content, nil, w.Paths)
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b resource.Writer) int {
		return cmp.Or(a.At.Compare(b.At), strings.Compare(a.Manager, b.Manager))
	})
	return out
}

// leaves collects the paths of a FieldsV1. Keys "f:NAME" are fields, "." is the
// map itself, and all others are elements of a list or set, which is then one
// leaf. Who owns nothing of a map but the map itself, since others took what was
// his, owns none of its leaves; content tells.
func leaves(fields, content map[string]any, at []string, into map[string]bool) {
	for key, below := range fields {
		name, isField := strings.CutPrefix(key, "f:")
		if !isField {
			continue
		}
		path := append(at[:len(at):len(at)], name)
		f, _ := below.(map[string]any)
		if isLeaf(f) {
			if p := resource.FormatPath(path...); resource.IsLeaf(p, content[name]) {
				into[p] = true
			}
			continue
		}
		inside, _ := content[name].(map[string]any)
		leaves(f, inside, path, into)
	}
}

func isLeaf(fields map[string]any) bool {
	for key := range fields {
		if strings.HasPrefix(key, "f:") {
			return false
		}
	}
	return true
}

func str(v any) string {
	s, _ := v.(string)
	return s
}

// moment reads a time as the API server writes it; zero when there is none.
func moment(v any) time.Time {
	t, err := time.Parse(time.RFC3339, str(v))
	if err != nil {
		return time.Time{}
	}
	return t
}
