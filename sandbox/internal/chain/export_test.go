package chain

// For tests.
const MaxAhead = maxAhead

var (
	NextSeal = nextSeal
	Compiled = compiled
)
