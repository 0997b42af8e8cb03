package offer_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
)

func TestParseAddress(t *testing.T) {
	t.Parallel()
	keyed := func(label, key string) offer.Address {
		return offer.Address{Type: offer.HTTP, Label: label, Key: key, Keyed: true}
	}
	tests := map[string]struct {
		in   string
		want offer.Address
		text string // canonical
	}{
		"plain":             {"inference.qwen", offer.Address{Type: offer.Inference, Label: "qwen"}, "inference.qwen"},
		"short key":         {"http.weather.eu", keyed("weather", "eu"), `http.weather["eu"]`},
		"quoted key":        {`http.weather["eu"]`, keyed("weather", "eu"), `http.weather["eu"]`},
		"key with dots":     {`http.weather["eu.west.1"]`, keyed("weather", "eu.west.1"), `http.weather["eu.west.1"]`},
		"eaten quotes":      {`http.weather[eu.west]`, keyed("weather", "eu.west"), `http.weather["eu.west"]`},
		"key with a quote":  {`http.weather["a\"b"]`, keyed("weather", `a"b`), `http.weather["a\"b"]`},
		"empty key":         {`http.weather[""]`, keyed("weather", ""), `http.weather[""]`},
		"label with hyphen": {"demo.hello-2_x", offer.Address{Type: offer.Demo, Label: "hello-2_x"}, "demo.hello-2_x"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := offer.ParseAddress(tc.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tc.want || got.String() != tc.text {
				t.Errorf("ParseAddress(%q) = %+v, %q; want %+v, %q", tc.in, got, got.String(), tc.want, tc.text)
			}
		})
	}
}

func TestParseAddressRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ in, want string }{
		"empty":           {"", "write TYPE.LABEL"},
		"type alone":      {"http", "write TYPE.LABEL"},
		"unknown type":    {"mcp.x", "with type inference, http, agent or demo"},
		"no label":        {"http.", `label ""`},
		"slash":           {"http.a/b", `label "a/b"`},
		"key with a dot":  {"http.weather.eu.west", `http.weather["eu.west"]`},
		"empty short key": {"http.weather.", "in brackets and quotes"},
		"open bracket":    {`http.weather["eu"`, "not closed"},
		"after bracket":   {`http.weather["eu"]x`, "not closed"},
		"single quotes":   {`http.weather['eu']`, "in brackets and quotes"},
		"half a quote":    {`http.weather["eu]`, "not a quoted string"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := offer.ParseAddress(tc.in)
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("ParseAddress(%q) = %v, %v; want an error that says %q", tc.in, got, err, tc.want)
			}
		})
	}
}

func TestAddressInJSON(t *testing.T) {
	t.Parallel()
	in := []offer.Address{{}, {Type: offer.HTTP, Label: "weather", Key: "eu", Keyed: true}}
	b, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `["","http.weather[\"eu\"]"]`; string(b) != want {
		t.Errorf("JSON = %s, want %s", b, want)
	}
	var out []offer.Address
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(in, out); diff != "" {
		t.Errorf("read back (-want +got):\n%s", diff)
	}
	if err := json.Unmarshal([]byte(`["bad"]`), &out); err == nil {
		t.Error("a bad address was read")
	}
}

func TestAddressMatches(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		typed, other string
		want         bool
	}{
		"itself":                   {"http.weather", "http.weather", true},
		"all keys":                 {"http.weather", "http.weather.eu", true},
		"one key":                  {"http.weather.eu", "http.weather.eu", true},
		"another key":              {"http.weather.eu", "http.weather.us", false},
		"a key is not the plain":   {"http.weather.eu", "http.weather", false},
		"another label":            {"http.weather", "http.whether.eu", false},
		"another type, same label": {"http.weather", "agent.weather", false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := address(t, tc.typed).Matches(address(t, tc.other)); got != tc.want {
				t.Errorf("%s matches %s = %v, want %v", tc.typed, tc.other, got, tc.want)
			}
		})
	}
}

func TestAddressOrder(t *testing.T) {
	t.Parallel()
	want := []string{"agent.z", "http.a", `http.a[""]`, `http.a["b"]`, `http.a["c"]`, "http.b", "inference.a"}
	var got []offer.Address
	for _, s := range want {
		got = append([]offer.Address{address(t, s)}, got...)
	}
	slices.SortFunc(got, offer.Address.Compare)
	for i, a := range got {
		if a.String() != want[i] {
			t.Errorf("at %d: %s, want %s", i, a, want[i])
		}
	}
}

func address(t *testing.T, s string) offer.Address {
	t.Helper()
	a, err := offer.ParseAddress(s)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// FuzzParseAddress holds two laws: no input panics, and the canonical form of
// what was read reads back as the same address.
func FuzzParseAddress(f *testing.F) {
	for _, s := range []string{"inference.qwen", `http.weather["eu"]`, "http.weather.eu", `http.w["\x80"]`, "http.a[b]", `demo.x[""]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := offer.ParseAddress(s)
		if err != nil {
			return
		}
		again, err := offer.ParseAddress(a.String())
		if err != nil || again != a {
			t.Errorf("%q is %+v, prints %q, and reads back as %+v, %v", s, a, a.String(), again, err)
		}
	})
}

func TestTyped(t *testing.T) {
	t.Parallel()
	for want, a := range map[string]offer.Address{
		"http.web":              {Type: offer.HTTP, Label: "web"},
		"http.web.eu-1":         {Type: offer.HTTP, Label: "web", Key: "eu-1", Keyed: true},
		`'http.web["a b"]'`:     {Type: offer.HTTP, Label: "web", Key: "a b", Keyed: true},
		`'http.web["a.b"]'`:     {Type: offer.HTTP, Label: "web", Key: "a.b", Keyed: true},
		`'http.web[""]'`:        {Type: offer.HTTP, Label: "web", Keyed: true},
		`'http.web["it'\''s"]'`: {Type: offer.HTTP, Label: "web", Key: "it's", Keyed: true},
	} {
		if got := a.Typed(); got != want {
			t.Errorf("%v is typed %s, want %s", a, got, want)
		}
	}
}
