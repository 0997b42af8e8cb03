package offerfile

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"

	"github.com/obolctl/obolctl/pkg/offer"
)

// Findings are what a machine tells before it has an offers file.
type Findings struct {
	Kubeconfig string       // path, as it should be written; empty when none was found
	Context    string       // of the cluster; empty when there is none
	Models     []FoundModel // that a runtime on this host serves
	Sold       []string     // offers of obol sell, as people know them: http apps/weather
}

// A FoundModel is a model that a runtime on this host serves.
type FoundModel struct {
	Name    string
	Runtime string // ollama, vllm or tgi
	URL     string // of the runtime
}

// Starter writes a first offers file from what was found. It is valid as it
// is, and sells nothing: what only the seller can say, wallet and prices, is
// left to be filled in.
func Starter(f Findings) []byte {
	var b strings.Builder
	b.WriteString(`# What this machine sells. Fill in the wallet, take the # off the offers that
# you want to sell, and then: obolctl plan

obolctl {
  required_version = ">= 0.1.0"
  # site = "home" # the name of this machine's state
}
`)
	starterCluster(&b, f)
	b.WriteString(`
# The wallet has no default, since only you know it. Put a line
#   wallet = "0x…"
# into wallet.auto.obolvars beside this file, or export OBOLCTL_VAR_WALLET.
variable "wallet" {
  type        = string
  description = "Where buyers pay."
  validation {
    condition     = can(regex("^0x[0-9a-fA-F]{40}$", var.wallet))
    error_message = "Give a 0x address of 40 hex digits."
  }
}

# Under every offer; an offer's own value wins. base-sepolia is a test network,
# where nothing is real. For real money: base.
defaults {
  payment {
    network = "base-sepolia"
    pay_to  = var.wallet
  }
}
`)
	starterModels(&b, f.Models)
	starterSold(&b, f.Sold)
	out, diags := Format(DefaultPath, []byte(b.String()))
	if diags.HasErrors() {
		panic("offerfile: starter is no HCL: " + diags.Error())
	}
	return out
}

func starterCluster(b *strings.Builder, f Findings) {
	if f.Kubeconfig == "" {
		b.WriteString(`
# No kubeconfig was found. Without one only standalone offers can be sold.
# cluster {
#   kubeconfig = "~/.config/obol/kubeconfig.yaml"
# }
`)
		return
	}
	fmt.Fprintf(b, "\ncluster {\n  kubeconfig = %s\n", quote(f.Kubeconfig))
	if f.Context != "" {
		fmt.Fprintf(b, "  context = %s\n", quote(f.Context))
	}
	b.WriteString("}\n")
}

func starterModels(b *strings.Builder, models []FoundModel) {
	if len(models) == 0 {
		b.WriteString("\n# No model runtime answered here. An inference offer would look like this:\n")
		models = []FoundModel{{Name: "qwen3.5:35b", Runtime: "ollama", URL: "http://127.0.0.1:11434"}}
	} else {
		b.WriteString("\n# The models that were found here. The prices are examples: choose your own.\n")
	}
	used := map[string]bool{}
	for _, m := range models {
		if strings.Contains(m.Name, "/") {
			fmt.Fprintf(b, "# %s cannot be sold under this name: the stack cannot route a slash. Give it\n# an alias without one in %s.\n", oneLine(m.Name), oneLine(m.Runtime))
			continue
		}
		fmt.Fprintf(b, `#
# inference %q {
#   model    = %s
#   runtime  = %s
#   upstream = %s
#   price    = { per_mtok = "0.5" }
# }
`, labelOf(m.Name, used), quote(m.Name), quote(m.Runtime), quote(m.URL))
	}
	b.WriteString(`
# Anything that speaks HTTP: a Service of the cluster, or a URL of this host.
#
# http "hello" {
#   price = { per_request = "0.001" }
#   upstream {
#     url = "http://127.0.0.1:9000"
#   }
# }
`)
}

func starterSold(b *strings.Builder, sold []string) {
	if len(sold) == 0 {
		return
	}
	b.WriteString("\n# Offers that sell already, made by obol sell. They go on as they are; to declare\n# one, write its block under the same namespace and name.\n")
	for _, name := range sold {
		fmt.Fprintf(b, "#   %s\n", oneLine(name))
	}
}

// labelOf makes a DNS label of a model's name, one that is not used yet.
func labelOf(model string, used map[string]bool) string {
	label := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z' || '0' <= r && r <= '9':
			return r
		case 'A' <= r && r <= 'Z':
			return r - 'A' + 'a'
		}
		return '-'
	}, strings.TrimSuffix(model, ":latest"))
	label = strings.Trim(label[:min(len(label), 50)], "-")
	if offer.CheckServiceName(label) != nil {
		label = strings.TrimSuffix("model-"+label, "-")
	}
	for n := 2; used[label]; n++ {
		label = strings.TrimSuffix(label, "-"+strconv.Itoa(n-1)) + "-" + strconv.Itoa(n)
	}
	used[label] = true
	return label
}

// quote writes text as HCL does, on one line.
func quote(s string) string {
	return string(hclwrite.TokensForValue(cty.StringVal(s)).Bytes())
}

// oneLine keeps what was found from ending a comment.
func oneLine(s string) string {
	return strings.Join(strings.Fields(s), " ")
}
