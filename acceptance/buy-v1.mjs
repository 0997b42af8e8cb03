// Buys with x402-fetch, the client of version 1, and prints what came, as buy-v2.mjs does.
//
//   node buy-v1.mjs '{"url", "key", "method"}'
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

const { url, key, method } = JSON.parse(process.argv[2]);
const buy = wrapFetchWithPayment(fetch, await createSigner("base-sepolia", key), 10n ** 12n);
const answer = await buy(url, { method });
const receipt = answer.headers.get("X-PAYMENT-RESPONSE");
console.log(
  JSON.stringify({
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: await answer.text(),
    receipt: receipt && decodeXPaymentResponse(receipt),
  }),
);
