// The official TypeScript facilitator over HTTP.
//
//   node facilitator.mjs '{"rpc", "key"}'       key: an account that has ether
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import express from "express";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";
import { serve, told } from "./serve.mjs";

const account = privateKeyToAccount(told.key);
const wallet = createWalletClient({ account, chain: baseSepolia, transport: http(told.rpc), pollingInterval: 200 }).extend(publicActions);
const facilitator = new x402Facilitator();
registerExactEvmScheme(facilitator, {
  networks: "eip155:84532",
  signer: toFacilitatorEvmSigner({ ...wallet, address: account.address }),
});

// Settlements are sent one after the other, since they share the account's nonce.
let last = Promise.resolve();
const inTurn = (work) => (last = last.then(work, work));

const app = express();
app.use(express.json());
app.post("/verify", async ({ body }, res) => res.json(await facilitator.verify(body.paymentPayload, body.paymentRequirements)));
app.post("/settle", async ({ body }, res) =>
  res.json(await inTurn(() => facilitator.settle(body.paymentPayload, body.paymentRequirements))),
);
app.get("/supported", (_, res) => res.json(facilitator.getSupported()));
serve(app);
