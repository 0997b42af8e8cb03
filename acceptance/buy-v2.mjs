// Buys with @x402/fetch and prints what came: {"status", "headers", "body", "receipt"}.
//
//   node buy-v2.mjs '{"url", "key", "method", "asset"}'
//
// Without an asset it does what it does by itself, which is to pay in USDC alone;
// any other token has to be allowed.
import { ExactEvmScheme } from "@x402/evm";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { privateKeyToAccount } from "viem/accounts";

const { url, key, method, asset } = JSON.parse(process.argv[2]);
const buy = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [{ network: "eip155:84532", client: new ExactEvmScheme(privateKeyToAccount(key)) }],
  ...(asset && {
    spendControls: { allowedAssets: true },
    paymentRequirementsSelector: (_, accepts) => accepts.find((way) => way.asset.toLowerCase() === asset.toLowerCase()),
  }),
});
const answer = await buy(url, { method });
const receipt = answer.headers.get("PAYMENT-RESPONSE");
console.log(
  JSON.stringify({
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: await answer.text(),
    receipt: receipt && decodePaymentResponseHeader(receipt),
  }),
);
