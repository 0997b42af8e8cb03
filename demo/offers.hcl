# One offer of each type, and one that needs no cluster.

obolctl {
  site = "demo"
}

variable "model_server" {
  type        = string
  description = "The model server on this host, which speaks like OpenAI's."
}

variable "facilitator" {
  type        = string
  description = "Who settles what buyers pay for notes."
}

variable "notes_port" {
  type        = number
  description = "Where buyers reach notes."
}

defaults {
  payment {
    network = "base-sepolia"
    pay_to  = "0x52908400098527886E0F7030069857D2E4169EE7"
  }
}

inference "qwen" {
  model    = "qwen3.5:35b"
  runtime  = "vllm"
  upstream = var.model_server
  price    = { per_mtok = "0.5" }
}

http "search" {
  price = { per_request = "0.001" }

  upstream {
    url         = var.model_server
    health_path = "/health"
  }
}

agent "quant" {
  pay_to = "agent"
  price  = { per_request = "0.05" }

  payment {
    network = "base-sepolia"
  }
}

demo "hello" {
  price = { per_request = "0.0001" }
}

http "notes" {
  standalone = true # its gateway takes the money
  price      = { per_request = "0.01" }

  payment {
    facilitators = [var.facilitator]
  }
  upstream {
    url         = var.model_server
    health_path = "/health"
  }
  gateway {
    listen     = var.notes_port
    public_url = "http://127.0.0.1:${var.notes_port}"
  }
}
