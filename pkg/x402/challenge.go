package x402

import (
	"errors"
	"net/http"
)

// A Challenge is the 402 of one resource, encoded once.
type Challenge struct {
	Header string // of RequiredHeader: base64 of version 2, at most 6 KB
	Body   []byte // JSON of version 1, or of version 2 when no quote can be said in version 1
}

// NewChallenge encodes what is asked for a resource, quotes in order of
// preference. The reason says why payment is required, or why the one that was
// sent is not enough. It fails when a part of the resource is out of its bounds,
// when there is no quote, and when the header would be larger than 6 KB.
func NewChallenge(res Resource, quotes []Quote, reason string) (Challenge, error) {
	return Challenge{}, errors.New("not written yet")
}

// ParseChallenge reads the 402 of a server as strictly as a careful buyer would,
// in both versions, and gives the ways to pay, in order. When header and body
// both say some, they have to agree.
func ParseChallenge(h http.Header, body []byte) ([]Requirements, error) {
	return nil, errors.New("not written yet")
}
