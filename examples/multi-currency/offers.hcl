# One offer that takes several tokens, on several networks. The first payment is
# the primary one: the storefront shows it, and prices of routes are in its token.
#
#   obolctl plan --var wallet=0x…

variable "wallet" {
  type        = string
  description = "Where buyers pay."
}

defaults {
  payment {
    pay_to = var.wallet
  }
}

inference "qwen" {
  model    = "qwen3.5:35b"
  upstream = "http://127.0.0.1:11434"

  payment { # USDC, where no token is named
    network = "base-sepolia"
    price   = { per_mtok = "0.5" }
  }

  payment {
    network     = "base-sepolia"
    token       = "OBOL"
    price       = { per_mtok = "12.5" }
    max_timeout = "120s"
  }

  payment { # a token that obolctl does not know by name
    network = "polygon-amoy"
    price   = { per_mtok = "0.45" }

    asset {
      address         = "0x5FbDB2315678afecb367f032d93F642f64180aa3"
      symbol          = "EURX"
      decimals        = 6
      transfer_method = "eip3009"
      eip712_name     = "Euro X"
      eip712_version  = "1"
    }
  }
}
