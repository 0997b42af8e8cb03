package offerfile_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/obolctl/obolctl/pkg/offerfile"
)

// literal writes n http blocks.
func literal(n int) string {
	var b strings.Builder
	b.WriteString(base)
	for i := range n {
		fmt.Fprintf(&b, `
http "offer-%d" {
  namespace = "apps"
  price     = { per_request = "0.%04d" }

  upstream {
    service     = "weather-%d"
    port        = 8080
    health_path = "/healthz"
  }

  limits {
    max_in_flight = 8
    rps           = 20
  }
}
`, i, i+1, i)
	}
	return b.String()
}

// keyed writes one http block with n keys.
func keyed(n int) string {
	return base + fmt.Sprintf(`
http "many" {
  for_each = toset([for i in range(%d) : "k${i}"])
  name     = "many-${each.key}"

  upstream {
    url = "http://127.0.0.1:9000/${each.key}"
  }

  limits {
    max_in_flight = 8
  }
}
`, n)
}

func BenchmarkLoad(b *testing.B) {
	for name, src := range map[string]string{"literal/1000": literal(1000), "for_each/1000": keyed(1000), "literal/100": literal(100)} {
		b.Run(name, func(b *testing.B) {
			path := filepath.Join(b.TempDir(), "offers.hcl")
			if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				f, diags := offerfile.Load(offerfile.Input{Paths: []string{path}})
				if diags.HasErrors() || len(f.Offers) == 0 {
					b.Fatal(diags.Error())
				}
			}
		})
	}
}
