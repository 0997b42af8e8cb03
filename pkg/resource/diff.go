package resource

import "time"

// A Difference is one leaf in which two objects differ.
//
// Paths are dotted, such as spec.payment.price.perRequest; a key that is not
// made of letters, digits, "_" and "-" alone stands in brackets and quotes:
// metadata.annotations["offers.obolctl.io/address"]. Lists are leaves: spec.routes.
type Difference struct {
	Path   string `json:"path"`
	Before any    `json:"before"` // nil when it is not there
	After  any    `json:"after"`  // nil when it goes

	// Writer wrote Before; zero when nobody else than us did.
	Writer    string    `json:"writer,omitempty"`
	WrittenAt time.Time `json:"written_at,omitzero"`
}
