# One block, one offer for each region. They are called http.weather["eu"] and
# so on; http.weather means all of them.
#
#   obolctl plan --var wallet=0x…
#   obolctl status http.weather.eu

variable "wallet" {
  type        = string
  description = "Where buyers pay."
}

locals {
  regions = {
    asia = { service = "weather-asia", price = "0.0006" }
    eu   = { service = "weather-eu", price = "0.0004" }
    us   = { service = "weather-us", price = "0.0004" }
  }

  # Regions that sell nothing for now. Take one out, apply, and it sells again.
  paused = toset(["asia"])
}

http "weather" {
  for_each  = local.regions
  name      = "weather-${each.key}"
  namespace = "apps"
  pay_to    = var.wallet
  price     = { per_request = each.value.price }
  drain     = contains(local.paused, each.key) ? { grace = "1h", reason = "new sensors" } : null

  payment {
    network = "base-sepolia"
  }

  upstream {
    service     = each.value.service
    port        = 8080
    health_path = "/healthz"
  }

  listing {
    category = "weather"
  }
}
