# The smallest file that sells something: a model that Ollama serves on this host.
#
#   obolctl plan --var wallet=0x…
#
# base-sepolia is a test network, where nothing is real. For real money: base.

variable "wallet" {
  type        = string
  description = "Where buyers pay."
}

inference "qwen" {
  model    = "qwen3.5:35b"
  upstream = "http://127.0.0.1:11434"
  pay_to   = var.wallet
  price    = { per_mtok = "0.5" }

  payment {
    network = "base-sepolia"
  }
}
