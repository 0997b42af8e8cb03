package state

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/obolctl/obolctl/pkg/offer"
	"github.com/obolctl/obolctl/pkg/plan"
	"github.com/obolctl/obolctl/pkg/resource"
)

// FuzzJournal states two laws: a journal that is read does not change its
// meaning when it is cut after a whole line and lines follow; and a cut within
// the last line is recognised, so that it means what the lines before it mean.
func FuzzJournal(f *testing.F) {
	begin := `{"begin":{"version":1,"run":3,"steps":[{"id":"Service/llm/a","action":"create"},{"id":"Gateway/llm/a","action":"stop"}]}}` + "\n"
	f.Add([]byte(begin+`{"end":{"id":"Service/llm/a","uid":"u"}}`+"\n"), uint(3))
	f.Add([]byte(begin+`{"end":{"id":"Gateway/llm/a","error":"no"}}`+"\n"+"\x00\x00\n"), uint(1))
	f.Add([]byte(begin+begin), uint(90))
	f.Fuzz(func(t *testing.T, data []byte, drop uint) {
		whole, err := parseJournal("journal", data)
		if err != nil {
			return
		}
		fold := func(r run) record {
			rec := record{Made: map[name]string{{Kind: "Service", Name: "old"}: "u"}}
			r.foldInto(&rec)
			return rec
		}
		for _, id := range fold(whole).Unfinished {
			if _, err := id.MarshalText(); err != nil {
				t.Errorf("unfinished: %v", err)
			}
		}
		cut := data[:uint(len(data))-min(drop, uint(len(data)))]
		part, err := parseJournal("journal", cut)
		if err != nil {
			t.Fatalf("readable whole, and not when cut: %v", err)
		}
		lines, err := parseJournal("journal", cut[:bytes.LastIndexByte(cut, '\n')+1])
		if err != nil {
			t.Fatalf("readable when cut, and not without its short line: %v", err)
		}
		if diff := cmp.Diff(fold(lines), fold(part)); diff != "" {
			t.Errorf("a short line means something (-without +with):\n%s", diff)
		}
		if len(part.ends) > len(whole.ends) || len(part.steps) > len(whole.steps) {
			t.Error("a part tells more than the whole")
		}
	})
}

// FuzzAccepted reads any bytes in both ways, and writes what it read.
func FuzzAccepted(f *testing.F) {
	for _, a := range []plan.Accepted{
		{},
		{Number: 7, By: `"offers":[`, Set: plan.Set{
			Offers: []offer.Offer{{Name: "a\n],\"specs\":[\n"}, {Name: "b"}},
			Specs:  []resource.Spec{{ID: resource.ID{Kind: "Service", Name: "x"}, Object: map[string]any{"a": []any{1.5, nil, "],"}}}},
			Source: plan.Source{Path: `"offers":null,"specs":null`},
		}},
	} {
		data, err := encodeAccepted(a)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"number":2,"set":{"offers":[{"name":"a"}]}}`))
	f.Add([]byte("{\"version\":1,\"set\":{\"offers\":[\n\n],\"specs\":[\n\n]}} x"))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := decodeAccepted("accepted", data)
		var slow acceptedFile
		if slowErr := json.Unmarshal(data, &slow); slowErr == nil && slow.Version == version {
			if err != nil {
				t.Fatalf("it is JSON, and refused: %v", err)
			}
			if !strings.Contains(string(data), "null") && !jsonEqual(t, slow.Accepted, a) {
				t.Errorf("by lines it is %+v, else %+v", a, slow.Accepted)
			}
		} else if err == nil {
			t.Fatalf("it is no accepted set (%v), and taken", slowErr)
		}
		if err != nil {
			return
		}
		again, err := encodeAccepted(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeAccepted("accepted", again)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if !jsonEqual(t, a, back) {
			t.Errorf("wrote %+v, read %+v", a, back)
		}
	})
}

// jsonEqual compares as the file does: nil and empty lists are alike.
func jsonEqual(t *testing.T, a, b plan.Accepted) bool {
	t.Helper()
	x, err := encodeAccepted(a)
	if err != nil {
		t.Fatal(err)
	}
	y, err := encodeAccepted(b)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Equal(x, y)
}
