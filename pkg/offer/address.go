package offer

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// An Address is an offer's name in the tool: inference.qwen, http.weather["eu"].
type Address struct {
	Type  Type
	Label string
	Key   string // of for_each; empty when Keyed is false
	Keyed bool
}

// Typed gives the address as a person types it in a shell: http.weather.eu where
// that means the same, else quoted.
func (a Address) Typed() string {
	if !a.Keyed {
		return a.String()
	}
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
	if a.Key != "" && strings.Trim(a.Key, plain) == "" {
		return string(a.Type) + "." + a.Label + "." + a.Key
	}
	return "'" + strings.ReplaceAll(a.String(), "'", `'\''`) + "'"
}

// ParseAddress reads an address as people type it: inference.qwen,
// http.weather["eu"], or http.weather.eu for short. A key that holds a dot has
// to stand in brackets; the quotes there may be missing, since shells eat them.
func ParseAddress(s string) (Address, error) {
	kind, rest, ok := strings.Cut(s, ".")
	if !ok || !isType(Type(kind)) {
		return Address{}, fmt.Errorf("%q is not an address: write TYPE.LABEL, such as inference.qwen, with type inference, http, agent or demo", s)
	}
	a := Address{Type: Type(kind), Label: rest}
	if cut := strings.IndexAny(rest, ".["); cut >= 0 {
		key, err := parseKey(rest[cut:])
		if err != nil {
			return Address{}, fmt.Errorf("%q is not an address: %w", s, err)
		}
		a.Label, a.Key, a.Keyed = rest[:cut], key, true
	}
	if err := CheckLabel(a.Label); err != nil {
		return Address{}, fmt.Errorf("%q is not an address: %w", s, err)
	}
	return a, nil
}

// parseKey reads what follows the label: .eu, ["eu"] or [eu].
func parseKey(s string) (string, error) {
	if short, ok := strings.CutPrefix(s, "."); ok {
		if short == "" || strings.ContainsAny(short, `.[]"`) {
			return "", fmt.Errorf("write the key in brackets and quotes, such as http.weather[%s]", strconv.Quote(short))
		}
		return short, nil
	}
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", fmt.Errorf("the bracket is not closed")
	}
	if !strings.HasPrefix(inner, `"`) {
		if inner == "" || strings.ContainsAny(inner, "[]\"'`") {
			return "", fmt.Errorf("write the key in brackets and quotes")
		}
		return inner, nil
	}
	key, err := strconv.Unquote(inner)
	if err != nil {
		return "", fmt.Errorf("the key %s is not a quoted string", inner)
	}
	return key, nil
}

func isType(t Type) bool {
	switch t {
	case Inference, HTTP, Agent, Demo:
		return true
	}
	return false
}

// String gives the canonical form, which ParseAddress reads back:
// http.weather["eu"]. The zero Address is "".
func (a Address) String() string {
	if a == (Address{}) {
		return ""
	}
	s := string(a.Type) + "." + a.Label
	if a.Keyed {
		s += "[" + strconv.Quote(a.Key) + "]"
	}
	return s
}

// MarshalText gives the canonical form, so that an address is one string in
// JSON.
func (a Address) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads what ParseAddress reads, and "" as the zero Address.
func (a *Address) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*a = Address{}
		return nil
	}
	parsed, err := ParseAddress(string(text))
	if err != nil {
		return err
	}
	*a = parsed
	return nil
}

// Compare orders addresses by type, label and key; an address without a key
// comes before its keys.
func (a Address) Compare(other Address) int {
	return cmp.Or(cmp.Compare(a.Type, other.Type), cmp.Compare(a.Label, other.Label),
		cmp.Compare(keyRank(a), keyRank(other)), cmp.Compare(a.Key, other.Key))
}

func keyRank(a Address) int {
	if a.Keyed {
		return 1
	}
	return 0
}

// Matches reports whether a, as somebody typed it, means other: an address
// without a key means all keys of its label.
func (a Address) Matches(other Address) bool {
	if !a.Keyed {
		other.Key, other.Keyed = "", false
	}
	return a == other
}
