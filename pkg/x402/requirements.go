package x402

import (
	"errors"
	"fmt"
	"net/url"
	"unicode/utf8"
)

// Requirements are what a seller asks for in one way to pay: PaymentRequirements
// of version 2. They are comparable; those of a [Quote] and of [ParseChallenge]
// spell addresses with their checksums.
type Requirements struct {
	Scheme            string `json:"scheme"`
	Network           string `json:"network"` // CAIP-2: eip155:84532
	Amount            string `json:"amount"`  // decimal, in the token's atomic units
	Asset             string `json:"asset"`
	PayTo             string `json:"payTo"`
	MaxTimeoutSeconds int64  `json:"maxTimeoutSeconds"`
	Extra             Extra  `json:"extra,omitzero"`
}

// Extra is what the scheme exact needs to know of a token.
type Extra struct {
	Name                string `json:"name,omitempty"` // of the token's EIP-712 domain
	Version             string `json:"version,omitempty"`
	AssetTransferMethod string `json:"assetTransferMethod,omitempty"` // eip3009 or permit2
}

// requirementsV1 are PaymentRequirements of version 1. Its clients want all of
// these members, the empty ones too.
type requirementsV1 struct {
	Scheme            string `json:"scheme"`
	Network           string `json:"network"`
	MaxAmountRequired string `json:"maxAmountRequired"`
	Resource          string `json:"resource"`
	Description       string `json:"description"`
	MimeType          string `json:"mimeType"`
	PayTo             string `json:"payTo"`
	MaxTimeoutSeconds int64  `json:"maxTimeoutSeconds"`
	Asset             string `json:"asset"`
	Extra             Extra  `json:"extra"`
}

// v1 says a quote that has a v1Name in version 1.
func (q Quote) v1(res Resource) requirementsV1 {
	r := q.requirements
	return requirementsV1{
		r.Scheme, q.v1Name, r.Amount, res.URL, res.Description, res.MimeType,
		r.PayTo, r.MaxTimeoutSeconds, r.Asset, Extra{Name: r.Extra.Name, Version: r.Extra.Version},
	}
}

// A Resource is what is paid for: ResourceInfo of version 2.
type Resource struct {
	URL         string   `json:"url"` // absolute; from the seller's configuration, never from a request
	Description string   `json:"description,omitempty"`
	MimeType    string   `json:"mimeType,omitempty"`
	ServiceName string   `json:"serviceName,omitempty"` // at most 32 printable ASCII characters
	Tags        []string `json:"tags,omitempty"`        // at most five, each of 1 to 32 printable ASCII characters
	IconURL     string   `json:"iconUrl,omitempty"`     // at most 2048 bytes
}

// check holds a resource to the bounds that buyers enforce.
func (r Resource) check() error {
	if u, err := url.Parse(r.URL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || !utf8.ValidString(r.URL) {
		return fmt.Errorf("the resource %q is no absolute http or https URL", r.URL)
	}
	if r.ServiceName != "" && !isLabel(r.ServiceName) {
		return fmt.Errorf("the service name %q is not of 1 to 32 printable ASCII characters", r.ServiceName)
	}
	if len(r.Tags) > 5 {
		return errors.New("a resource has more than five tags")
	}
	for _, tag := range r.Tags {
		if !isLabel(tag) {
			return fmt.Errorf("the tag %q is not of 1 to 32 printable ASCII characters", tag)
		}
	}
	if len(r.IconURL) > 2048 {
		return errors.New("the icon's URL is longer than 2048 bytes")
	}
	return nil
}

func isLabel(s string) bool { return s != "" && len(s) <= 32 && clean(s, len(s)) == s }
