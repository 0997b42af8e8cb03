package ledger_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/obolctl/obolctl/pkg/ledger"
)

// TestRecordsAreWrittenAsJSON draws records with every field that they have:
// each is written as encoding/json writes it, or fails when that does.
func TestRecordsAreWrittenAsJSON(t *testing.T) {
	t.Parallel()
	text := rapid.OneOf(rapid.String(), rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 8), func(b []byte) string { return string(b) }),
		rapid.SampledFrom([]string{"", "plain", `"`, `\`, "<", ">", "&", "\x7f", "\u2028", "é"}))
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-1<<37, 1<<38).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
	})
	records := rapid.MakeCustom[ledger.Record](rapid.MakeConfig{
		Kinds: map[reflect.Kind]*rapid.Generator[any]{reflect.String: text.AsAny()},
		Types: map[reflect.Type]*rapid.Generator[any]{reflect.TypeFor[time.Time](): moment.AsAny()},
	})
	rapid.Check(t, func(t *rapid.T) {
		r := records.Draw(t, "record")
		want, wrong := json.Marshal(r)
		got, err := r.Text()
		if (err != nil) != (wrong != nil) {
			t.Fatalf("error = %v, and encoding/json says %v", err, wrong)
		}
		if diff := cmp.Diff(string(want), string(got)); err == nil && diff != "" {
			t.Errorf("text (-want +got):\n%s", diff)
		}
	})
}
