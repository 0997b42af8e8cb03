package main

import (
	"strings"
	"testing"
)

func TestFold(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 90)
	tests := map[string]struct{ in, want string }{
		"short":         {"  ab  cd\n\n", "  ab  cd\n\n"},
		"just fits":     {strings.Repeat("→", 80) + "\n", strings.Repeat("→", 80) + "\n"},
		"without space": {long + "\n", long + "\n"},
		"two":           {strings.Repeat("a", 40) + "  " + strings.Repeat("b", 39) + "\n", strings.Repeat("a", 40) + "\n    " + strings.Repeat("b", 39) + "\n"},
		"deeper": {
			"  " + strings.Repeat("123456789 ", 15) + "\n",
			"  " + strings.Repeat("123456789 ", 7)[:69] + "\n      " + strings.Repeat("123456789 ", 7)[:69] + "\n      123456789\n",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out strings.Builder
			f := &folding{out: &out}
			for _, b := range []byte(tc.in) { // however it comes
				if _, err := f.Write([]byte{b}); err != nil {
					t.Fatal(err)
				}
			}
			if out.String() != tc.want {
				t.Errorf("%q, want %q", out.String(), tc.want)
			}
		})
	}
}
