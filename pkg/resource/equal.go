package resource

// Equal reports whether two JSON values say the same, as [Differences] judges
// it of a leaf in either direction. Nil equals nil alone.
func Equal(a, b any) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return contains(a, b) && contains(b, a)
}
