// Judges 402 answers by the schemas of @x402/core and x402: reads one a line,
// {"name", "header", "body", "v1"}, and prints one line for each that is refused.
import { createInterface } from "node:readline";
import { decodePaymentRequiredHeader } from "@x402/core/http";
import { PaymentRequiredV1Schema, PaymentRequiredV2Schema, parsePaymentRequired } from "@x402/core/schemas";
import { PaymentRequirementsSchema } from "x402/types";

// Each judgement is a zod result; a text that cannot even be read throws.
const judge = {
  "PAYMENT-REQUIRED, any version": ({ header }) => parsePaymentRequired(decodePaymentRequiredHeader(header)),
  "PAYMENT-REQUIRED, version 2": ({ header }) => PaymentRequiredV2Schema.safeParse(decodePaymentRequiredHeader(header)),
  "body, any version": ({ body }) => (body ? parsePaymentRequired(JSON.parse(body)) : { success: true }),
  "body, version 1": ({ body, v1 }) => (v1 ? PaymentRequiredV1Schema.safeParse(JSON.parse(body)) : { success: true }),
  "body, the client of version 1": ({ body, v1 }) => (v1 ? PaymentRequirementsSchema.array().nonempty().safeParse(JSON.parse(body).accepts) : { success: true }),
};

for await (const line of createInterface({ input: process.stdin })) {
  const answer = JSON.parse(line);
  for (const [part, accepts] of Object.entries(judge)) {
    try {
      const { success, error } = accepts(answer);
      if (!success) console.log(`${answer.name}: ${part}: ${error}`);
    } catch (error) {
      console.log(`${answer.name}: ${part}: ${error}`);
    }
  }
}
