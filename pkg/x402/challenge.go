package x402

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// maxRequired is the largest RequiredHeader, in bytes. A client may take no
// more than 8 KB for all headers together.
const maxRequired = 6 << 10

// A Challenge is the 402 of one resource, encoded once.
type Challenge struct {
	Header string // of RequiredHeader: base64 of version 2, at most 6 KB
	Body   []byte // JSON of version 1, or of version 2 when no quote can be said in version 1
}

type required struct {
	Version  int            `json:"x402Version"`
	Error    string         `json:"error"`
	Resource Resource       `json:"resource"`
	Accepts  []Requirements `json:"accepts"`
}

type requiredV1 struct {
	Version int              `json:"x402Version"`
	Error   string           `json:"error"`
	Accepts []requirementsV1 `json:"accepts"`
}

// NewChallenge encodes what is asked for a resource, quotes in order of
// preference. The reason says why payment is required, or why the one that was
// sent is not enough. It fails when a part of the resource is out of its bounds,
// when there is no quote, and when the header would be larger than 6 KB.
//
// Version 1 matches payments by network alone, so its body has one quote of
// each, the first.
func NewChallenge(res Resource, quotes []Quote, reason string) (Challenge, error) {
	if err := res.check(); err != nil {
		return Challenge{}, err
	}
	if len(quotes) == 0 {
		return Challenge{}, errors.New("there is no way to pay")
	}
	reason = clean(reason, 256)
	v2 := required{2, reason, res, nil}
	v1 := requiredV1{1, reason, nil}
	for i, q := range quotes {
		v2.Accepts = append(v2.Accepts, q.requirements)
		if q.v1Name != "" && !slices.ContainsFunc(quotes[:i], func(r Quote) bool { return r.v1Name == q.v1Name }) {
			v1.Accepts = append(v1.Accepts, q.v1(res))
		}
	}
	text := marshal(v2)
	c := Challenge{base64.StdEncoding.EncodeToString(text), text}
	if len(c.Header) > maxRequired {
		return Challenge{}, fmt.Errorf("what buyers have to be told needs %d bytes of a header, and %d are safe: shorten descriptions, or offer fewer ways to pay", len(c.Header), maxRequired)
	}
	if v1.Accepts != nil {
		c.Body = marshal(v1)
	}
	return c, nil
}

// marshal is for values that cannot fail.
func marshal(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("x402: cannot marshal: " + err.Error()) // strings and numbers
	}
	return text
}
