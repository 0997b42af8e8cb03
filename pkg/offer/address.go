package offer

// An Address is an offer's name in the tool: inference.qwen, http.weather["eu"].
type Address struct {
	Type  Type
	Label string
	Key   string // of for_each; empty when Keyed is false
	Keyed bool
}
