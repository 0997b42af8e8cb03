# One offer of each type: a model on this host, a Service of the cluster,
# something on this host without any cluster, an agent, a demo; and a tombstone,
# which keeps a deleted offer deleted.
#
#   obolctl plan --var wallet=0x…

obolctl {
  required_version = ">= 0.1.0"
}

variable "wallet" {
  type        = string
  description = "Where buyers pay."

  validation {
    condition     = can(regex("^0x[0-9a-fA-F]{40}$", var.wallet))
    error_message = "Give a 0x address of 40 hex digits."
  }
}

defaults {
  payment {
    network = "base-sepolia" # a test network; for real money: base
    pay_to  = var.wallet
  }
}

# Its gateway runs on this host; the cluster charges, and leads buyers to it.
inference "qwen" {
  model    = "qwen3.5:35b"
  runtime  = "ollama"
  upstream = "http://127.0.0.1:11434"
  price    = { per_mtok = "0.5" }

  listing {
    weight   = 10
    category = "llm"
  }
}

# In the cluster already, so nothing runs on this host for it.
http "weather" {
  namespace = "apps"
  price     = { per_request = "0.0004" }

  upstream {
    service     = "weather"
    port        = 8080
    health_path = "/healthz"
  }
}

# Needs no cluster: its gateway charges. A tunnel or proxy in front brings TLS.
http "notes" {
  standalone = true
  price      = { per_request = "0.01" }

  upstream {
    url     = "http://127.0.0.1:9000"
    headers = { Authorization = secret_file("~/.config/obolctl/notes-key") }
  }

  gateway {
    listen     = 8410
    public_url = "https://notes.example.org"
  }
}

# The Agent is made with the stack's own tools, and never changed here. Its own
# wallet is paid, and no other from then on.
agent "quant" {
  pay_to = "agent"
  price  = { per_request = "10" }

  payment {
    network = "ethereum" # real money
    token   = "OBOL"
  }
}

# A small server to try things with.
demo "hello" {
  price = { per_request = "0.0001" }
}

# Was here once. This holds on every machine, and outlives all other memory.
tombstone "http" "old-weather" {
  namespace = "apps"
  reason    = "replaced by weather"
}
