package x402

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

// A Resource is what is paid for: ResourceInfo of version 2.
type Resource struct {
	URL         string   `json:"url"` // absolute; from the seller's configuration, never from a request
	Description string   `json:"description,omitempty"`
	MimeType    string   `json:"mimeType,omitempty"`
	ServiceName string   `json:"serviceName,omitempty"` // at most 32 printable ASCII characters
	Tags        []string `json:"tags,omitempty"`        // at most five, each of 1 to 32 printable ASCII characters
	IconURL     string   `json:"iconUrl,omitempty"`     // at most 2048 bytes
}
