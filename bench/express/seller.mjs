// Sells what an upstream has through @x402/express, as its documentation shows
// it, and passes requests on over connections that are kept.
//
//   node seller.mjs '{"facilitator", "upstream", "payTo", "asset", "amount"}'
import http from "node:http";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import express from "express";

const told = JSON.parse(process.argv[2]);
const network = "eip155:84532";
const price = { amount: told.amount, asset: told.asset, extra: { name: "USDC", version: "2" } };
const routes = { "/*": { accepts: { scheme: "exact", network, payTo: told.payTo, maxTimeoutSeconds: 3600, price }, description: "shop" } };
const seller = new x402ResourceServer(new HTTPFacilitatorClient({ url: told.facilitator })).register(network, new ExactEvmScheme());

const agent = new http.Agent({ keepAlive: true, maxSockets: 256 });
const app = express();
app.use(paymentMiddleware(routes, seller));
app.use((req, res) => {
  const { "payment-signature": paid, ...headers } = req.headers;
  const asked = http.request(told.upstream + req.originalUrl, { method: req.method, headers, agent }, (answer) => {
    res.writeHead(answer.statusCode, answer.headers);
    answer.pipe(res);
  });
  asked.on("error", () => res.status(502).end());
  req.pipe(asked);
});

const server = app.listen(0, "127.0.0.1", () => process.stdout.write(`http://127.0.0.1:${server.address().port}\n`));
process.stdin.on("end", () => process.exit(0)).resume(); // whoever started it is gone
