// The control of the attacks: the same upstream as the gateway's, protected by
// @x402/express as its documentation shows it.
//
//   node express.mjs '{"facilitator", "upstream", "payTo", "asset", "routes": {"/cheap/*": "10000"}}'
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";
import { serve, told } from "./serve.mjs";

const network = "eip155:84532";
const routes = Object.fromEntries(
  Object.entries(told.routes).map(([path, amount]) => [
    path,
    {
      accepts: {
        scheme: "exact",
        network,
        payTo: told.payTo,
        maxTimeoutSeconds: 300,
        price: { amount, asset: told.asset, extra: { name: "USDC", version: "2" } },
      },
      description: "what the shop sells",
    },
  ]),
);
const seller = new x402ResourceServer(new HTTPFacilitatorClient({ url: told.facilitator })).register(network, new ExactEvmScheme());

const app = express();
app.use(paymentMiddleware(routes, seller));
app.use(async (req, res) => {
  const answer = await fetch(`${told.upstream}/express`, {
    method: "POST",
    body: JSON.stringify({ method: req.method, target: req.originalUrl, headers: req.headers }),
  });
  const { status, headers, body } = await answer.json();
  res.status(status);
  for (const [name, value] of Object.entries(headers)) res.setHeader(name, value);
  res.send(body);
});
serve(app);
