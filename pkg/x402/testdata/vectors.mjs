// Makes vectors.json: payments that the published clients sign when they meet
// the 402s of challenges.json, which the published schemas judge first.
//
// In an empty folder with copies of this file and challenges.json:
//
//   npm i viem@2 @x402/core@2.27.0 @x402/evm@2.27.0 x402@1.2.0
//   node vectors.mjs > vectors.json
//
// The clock stands still and the keys are no secret; nonces are drawn anew.
import { readFileSync } from "node:fs";
import { privateKeyToAccount } from "viem/accounts";
import { x402Client } from "@x402/core/client";
import { decodePaymentRequiredHeader, encodePaymentSignatureHeader } from "@x402/core/http";
import { parsePaymentRequired } from "@x402/core/schemas";
import { ExactEvmScheme } from "@x402/evm/exact/client";
import { createPaymentHeader, selectPaymentRequirements } from "x402/client";
import { PaymentRequirementsSchema } from "x402/types";

const now = 1795680000; // 26 November 2026, 08:00 UTC
Date.now = () => now * 1000;

const buyers = [1, 2].map((n) => privateKeyToAccount("0x" + String(n).padStart(64, "0")));

function judge(text) {
  const verdict = parsePaymentRequired(text);
  if (!verdict.success) throw new Error(JSON.stringify(verdict.error));
}

const payments = [];
for (const [shop, { Header, Body }] of Object.entries(JSON.parse(readFileSync("challenges.json")))) {
  const header = decodePaymentRequiredHeader(Header);
  const body = JSON.parse(Body);
  judge(header);
  judge(body);
  for (const buyer of buyers) {
    for (const requirements of header.accepts) {
      const client = new x402Client((_, accepts) => accepts.find((a) => a.asset === requirements.asset));
      client.setSpendControls(false); // OBOL is none of its usual assets
      client.register(requirements.network, new ExactEvmScheme(buyer));
      const payload = await client.createPaymentPayload(header);
      payments.push({ shop, asset: requirements.asset, payer: buyer.address, version: 2, header: encodePaymentSignatureHeader(payload) });
    }
    if (body.x402Version === 1) {
      const accepts = body.accepts.map((a) => PaymentRequirementsSchema.parse(a));
      const requirements = selectPaymentRequirements(accepts, undefined, "exact");
      payments.push({ shop, asset: requirements.asset, payer: buyer.address, version: 1, header: await createPaymentHeader(buyer, 1, requirements) });
    }
  }
}
console.log(JSON.stringify({ now, payments }, null, 2));
