package view

import (
	"bytes"
	"encoding/json"
	"io"
)

// formatVersion is the version of every JSON document of this package.
const formatVersion = "1.0"

// encode gives v as JSON in which URLs and commands can be read.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// document writes v as one JSON document, indented.
func document(w io.Writer, v any) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// list is v, as [] rather than null where it is empty.
func list[T any](v []T) []T {
	if v == nil {
		return []T{}
	}
	return v
}
