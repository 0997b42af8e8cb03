# One offer whose parts have terms of their own. As soon as there is one route,
# what no route names is not served: so the last one takes the rest.
#
#   obolctl plan --var wallet=0x…

variable "wallet" {
  type        = string
  description = "Where buyers pay."
}

http "weather" {
  namespace = "apps"
  pay_to    = var.wallet
  price     = { per_request = "0.0004" }

  payment {
    network = "base-sepolia"
  }

  upstream {
    service     = "weather"
    port        = 8080
    health_path = "/healthz"
  }

  # For everybody, and for nothing.
  route {
    path    = "/stations"
    gate    = "free"
    summary = "The stations that there are."
  }
  route {
    path = "/docs/*"
    gate = "free"
  }

  # For whoever signs in with a wallet.
  route {
    path    = "/history/*"
    methods = ["GET"]
    gate    = "auth"
  }

  # Ten calls a day for nothing, for each wallet; then at the offer's price.
  route {
    path       = "/stations/*/now"
    methods    = ["GET"]
    gate       = "paid"
    free_quota = 10
    summary    = "What one station measures now."
  }

  # Dearer than the rest.
  route {
    path    = "/forecast"
    methods = ["POST"]
    gate    = "paid"
    price   = { per_request = "0.02" }
    summary = "A forecast for one place."
  }

  route {
    path = "/*"
    gate = "paid"
  }

  limits {
    max_in_flight = 8
    rps           = 20
  }
}
