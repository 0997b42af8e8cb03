package state

import (
	"fmt"
	"strings"

	"github.com/obolctl/obolctl/pkg/resource"
)

// A name is an ID as it is written down: ServiceOffer/llm/qwen.
type name resource.ID

// MarshalText implements [encoding.TextMarshaler].
func (n name) MarshalText() ([]byte, error) {
	text := []byte(resource.ID(n).String())
	var back name
	if err := back.UnmarshalText(text); err != nil || back != n {
		return nil, fmt.Errorf("internal error: %q cannot be read back", text)
	}
	return text, nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *name) UnmarshalText(text []byte) error {
	parts := strings.Split(string(text), "/")
	for _, p := range parts {
		if p == "" {
			return fmt.Errorf("%q names no resource", text)
		}
	}
	switch len(parts) {
	case 2:
		*n = name{Kind: parts[0], Name: parts[1]}
	case 3:
		*n = name{Kind: parts[0], Namespace: parts[1], Name: parts[2]}
	default:
		return fmt.Errorf("%q names no resource", text)
	}
	return nil
}
