package resource

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
)

// FormatPath writes the path of a field, given the keys that lead to it, as a
// [Difference] does. There must be at least one key.
func FormatPath(keys ...string) string {
	var b strings.Builder
	for _, k := range keys {
		writeKey(&b, k)
	}
	return b.String()
}

// ParsePath reads a path back into its keys. It also takes brackets around a
// key that needs none, so a path that a person typed is made canonical by
// formatting what was parsed. The empty path is an error.
func ParsePath(path string) ([]string, error) {
	var keys []string
	for rest := path; rest != "" || len(keys) == 0; {
		key, after, err := cutKey(rest, len(keys) == 0)
		if err != nil {
			return nil, fmt.Errorf("cannot read the path %q at %q: %w", path, rest, err)
		}
		keys, rest = append(keys, key), after
	}
	return keys, nil
}

// Lookup finds the value at a path. It is not found where the path is
// malformed, or leads through something that is not a map.
func Lookup(obj map[string]any, path string) (any, bool) {
	keys, err := ParsePath(path)
	if err != nil {
		return nil, false
	}
	return lookup(obj, keys)
}

// Set gives obj with value at path, making maps on the way and replacing what
// is in their place and no map. obj stays as it is: the maps on the way are
// copied, all else is shared. A malformed path gives obj itself.
func Set(obj map[string]any, path string, value any) map[string]any {
	keys, err := ParsePath(path)
	if err != nil {
		return obj
	}
	return set(obj, keys, value)
}

// Remove gives obj without what is at path, and without the maps on the way
// that this leaves empty. obj stays as it is: the maps on the way are copied,
// all else is shared. Where nothing is at path it gives obj itself.
func Remove(obj map[string]any, path string) map[string]any {
	keys, err := ParsePath(path)
	if err != nil {
		return obj
	}
	if _, found := lookup(obj, keys); !found {
		return obj
	}
	return remove(obj, keys)
}

// Under reports whether path is prefix or lies below it. Nothing lies below an
// empty or malformed prefix, so that an empty entry in [Terms] takes nothing.
func Under(path, prefix string) bool {
	if prefix == "" || path == "" {
		return false
	}
	if !strings.Contains(path, "[") && !strings.Contains(prefix, "[") {
		rest, ok := strings.CutPrefix(path, prefix)
		return ok && (rest == "" || rest[0] == '.')
	}
	p, err := ParsePath(path)
	if err != nil {
		return false
	}
	q, err := ParsePath(prefix)
	if err != nil || len(q) > len(p) {
		return false
	}
	for i := range q {
		if p[i] != q[i] {
			return false
		}
	}
	return true
}

// join adds a key to a path, which is empty at the root.
func join(path, key string) string {
	var b strings.Builder
	b.Grow(len(path) + len(key) + 1)
	b.WriteString(path)
	writeKey(&b, key)
	return b.String()
}

func writeKey(b *strings.Builder, key string) {
	if plainLen(key) != len(key) || key == "" {
		b.WriteByte('[')
		b.WriteString(strconv.Quote(key))
		b.WriteByte(']')
		return
	}
	if b.Len() > 0 {
		b.WriteByte('.')
	}
	b.WriteString(key)
}

// cutKey takes the first key off a path.
func cutKey(path string, first bool) (key, rest string, err error) {
	if strings.HasPrefix(path, "[") {
		quoted, err := strconv.QuotedPrefix(path[1:])
		if err != nil {
			return "", "", fmt.Errorf("a quoted key should follow the bracket")
		}
		rest, closed := strings.CutPrefix(path[1+len(quoted):], "]")
		if !closed || quoted[0] != '"' {
			return "", "", fmt.Errorf("a key in brackets stands in double quotes and ends with a bracket")
		}
		key, err = strconv.Unquote(quoted)
		return key, rest, err
	}
	if !first {
		dotless, dotted := strings.CutPrefix(path, ".")
		if !dotted {
			return "", "", fmt.Errorf("a dot or a bracket should stand here")
		}
		path = dotless
	}
	n := plainLen(path)
	if n == 0 {
		return "", "", fmt.Errorf("a key should stand here")
	}
	return path[:n], path[n:], nil
}

// plainLen counts the leading bytes of s that need no brackets.
func plainLen(s string) int {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (c < '0' || c > '9') && c != '_' && c != '-' {
			return i
		}
	}
	return len(s)
}

func lookup(obj map[string]any, keys []string) (any, bool) {
	var at any = obj
	for _, k := range keys {
		m, ok := at.(map[string]any)
		if !ok {
			return nil, false
		}
		if at, ok = m[k]; !ok {
			return nil, false
		}
	}
	return at, true
}

func set(obj map[string]any, keys []string, value any) map[string]any {
	out := make(map[string]any, len(obj)+1)
	maps.Copy(out, obj)
	if len(keys) > 1 {
		below, _ := obj[keys[0]].(map[string]any)
		value = set(below, keys[1:], value)
	}
	out[keys[0]] = value
	return out
}

func remove(obj map[string]any, keys []string) map[string]any {
	out := maps.Clone(obj)
	if len(keys) > 1 {
		below := remove(obj[keys[0]].(map[string]any), keys[1:]) // a map: lookup went through it
		if len(below) > 0 {
			out[keys[0]] = below
			return out
		}
	}
	delete(out, keys[0])
	return out
}
