package x402

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of what is read of others. The protocol needs a depth of 5 and 16
// members; extensions, which are passed on unread, hold JSON schemas.
const (
	maxDepth     = 64
	maxMembers   = 64
	usualMembers = 8
)

// maxEncoded is the largest header that is decoded, in bytes.
const maxEncoded = 16 << 10

// decodeBase64 takes the standard alphabet with padding and nothing else, so
// that there is one encoding of every text.
func decodeBase64(s string) ([]byte, error) {
	switch {
	case s == "":
		return nil, errors.New("is empty")
	case len(s) > maxEncoded:
		return nil, fmt.Errorf("is longer than %d bytes", maxEncoded)
	case strings.IndexByte(s, '\r') >= 0 || strings.IndexByte(s, '\n') >= 0: // which the decoder would skip
		return nil, errors.New("is not base64 with padding")
	}
	data, err := base64.StdEncoding.Strict().DecodeString(s)
	if err != nil {
		return nil, errors.New("is not base64 with padding")
	}
	return data, nil
}

// An object is the members of a JSON object, in order. Names are what they are,
// and no two differ in case alone: whether a reader takes the first, the last or,
// as encoding/json does, any case, it sees the same.
type object []member

type member struct{ name, value []byte } // value as it was written

// parseJSON reads a text that has to be one JSON object in UTF-8. What it
// returns shares the text's memory.
func parseJSON(text []byte) (object, error) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, errors.New("is not JSON")
	}
	return parseObject(text)
}

// parseObject reads one level of valid JSON.
func parseObject(text []byte) (object, error) {
	i := space(text, 0)
	if text[i] != '{' {
		return nil, errors.New("is not a JSON object")
	}
	o := make(object, 0, usualMembers) // never nil: nil is none
	for i = space(text, i+1); text[i] != '}'; {
		name, err := unquote(text[i:skipString(text, i)])
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(o, func(m member) bool { return bytes.EqualFold(m.name, name) }) {
			return nil, fmt.Errorf("has two members %q", clean(string(name), 40))
		}
		if len(o) == maxMembers {
			return nil, fmt.Errorf("has more than %d members", maxMembers)
		}
		start := space(text, space(text, skipString(text, i))+1) // past the colon
		end, err := skip(text, start)
		if err != nil {
			return nil, err
		}
		o = append(o, member{name, text[start:end]})
		if i = space(text, end); text[i] == ',' {
			i = space(text, i+1)
		}
	}
	return o, nil
}

// parseList reads the elements of a list in valid JSON.
func parseList(text []byte) ([][]byte, error) {
	if text[0] != '[' {
		return nil, errors.New("is not a list")
	}
	var list [][]byte
	for i := space(text, 1); text[i] != ']'; {
		end, err := skip(text, i)
		if err != nil {
			return nil, err
		}
		list = append(list, text[i:end])
		if i = space(text, end); text[i] == ',' {
			i = space(text, i+1)
		}
	}
	return list, nil
}

func space(text []byte, i int) int {
	for text[i] == ' ' || text[i] == '\t' || text[i] == '\n' || text[i] == '\r' {
		i++
	}
	return i
}

// skip gives the end of the value at i.
func skip(text []byte, i int) (int, error) {
	depth := 0
	for i < len(text) {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '{', '[':
			if depth++; depth > maxDepth {
				return 0, errors.New("is nested too deeply")
			}
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
		default:
			for i < len(text) && strings.IndexByte(" \t\n\r,]}", text[i]) < 0 {
				i++
			}
		}
		if depth == 0 {
			break
		}
	}
	return i, nil
}

func skipString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// unquote gives what a JSON string says.
func unquote(quoted []byte) ([]byte, error) {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted[1 : len(quoted)-1], nil
	}
	var s string
	if err := json.Unmarshal(quoted, &s); err != nil {
		return nil, errors.New("is not JSON")
	}
	return []byte(s), nil
}

// find gives a value as it was written, and nil when there is none or null,
// which the protocol takes for the same.
func (o object) find(name string) []byte {
	for _, m := range o {
		if string(m.name) == name && string(m.value) != "null" {
			return m.value
		}
	}
	return nil
}

// text reads a string; none is "".
func (o object) text(name string) (string, error) {
	value := o.find(name)
	if value == nil {
		return "", nil
	}
	if value[0] != '"' {
		return "", fmt.Errorf("%q is not a string", name)
	}
	s, err := unquote(value)
	return string(s), err
}

// filled reads a string that must be there and not be empty.
func (o object) filled(name string) (string, error) {
	s, err := o.text(name)
	if err == nil && s == "" {
		err = fmt.Errorf("%q is missing", name)
	}
	return s, err
}

// object reads an object; none is nil.
func (o object) object(name string) (object, error) {
	value := o.find(name)
	if value == nil {
		return nil, nil
	}
	inner, err := parseObject(value)
	if err != nil {
		return nil, fmt.Errorf("%q %v", name, err)
	}
	return inner, nil
}

// list reads a list that must be there.
func (o object) list(name string) ([][]byte, error) {
	value := o.find(name)
	if value == nil {
		return nil, fmt.Errorf("%q is missing", name)
	}
	list, err := parseList(value)
	if err != nil {
		return nil, fmt.Errorf("%q %v", name, err)
	}
	return list, nil
}

// texts reads a list of strings; none is nil.
func (o object) texts(name string) ([]string, error) {
	if o.find(name) == nil {
		return nil, nil
	}
	list, err := o.list(name)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, element := range list {
		if element[0] != '"' {
			return nil, fmt.Errorf("%q holds something that is no string", name)
		}
		s, err := unquote(element)
		if err != nil {
			return nil, err
		}
		all = append(all, string(s))
	}
	return all, nil
}

// count reads a number without sign, point and exponent that must be there.
func (o object) count(name string) (int64, error) {
	n, err := strconv.ParseUint(string(o.find(name)), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", name)
	}
	return int64(n), nil
}

// flag reads a true or false that must be there.
func (o object) flag(name string) (bool, error) {
	switch string(o.find(name)) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", name)
}

// clean makes a text of others fit for messages, logs and headers: printable
// ASCII, of at most so many bytes.
func clean(s string, most int) string {
	var b strings.Builder
	b.Grow(min(len(s), most))
	for _, r := range s {
		if b.Len() == most-3 && len(s) > most {
			b.WriteString("...")
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteByte(byte(r))
	}
	return b.String()
}
