// Compiles the contracts of the sandbox's chain into contracts.json beside them,
// which is committed and built into the sandbox: "npm ci && npm run generate".
// With --check it writes nothing, and fails if contracts.json is not what it
// would write.
import { createHash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import solc from "solc";

const sources = ["Permit2.sol", "Token.sol", "Wallet.sol"];
const contracts = ["OBOL", "Permit2", "USDC", "Wallet", "X402ExactPermit2Proxy"];

const chain = (name) => new URL(`../../internal/chain/contracts/${name}`, import.meta.url);
const text = Object.fromEntries(sources.map((name) => [name, readFileSync(chain(name), "utf8")]));

const output = JSON.parse(
  solc.compile(
    JSON.stringify({
      language: "Solidity",
      sources: Object.fromEntries(sources.map((name) => [name, { content: text[name] }])),
      settings: {
        evmVersion: "cancun",
        optimizer: { enabled: true, runs: 200 },
        metadata: { appendCBOR: false, bytecodeHash: "none" }, // the same bytes on every machine
        outputSelection: { "*": { "*": ["abi", "evm.deployedBytecode.object"] } },
      },
    }),
  ),
);
if (output.errors?.length) {
  console.error(output.errors.map((e) => e.formattedMessage).join("\n"));
  process.exit(1);
}

const compiled = Object.assign({}, ...Object.values(output.contracts));
const made =
  JSON.stringify(
    {
      compiler: solc.version(),
      sources: Object.fromEntries(
        sources.map((name) => [name, createHash("sha256").update(text[name]).digest("hex")]),
      ),
      contracts: Object.fromEntries(
        contracts.map((name) => [
          name,
          { runtime: "0x" + compiled[name].evm.deployedBytecode.object, abi: compiled[name].abi },
        ]),
      ),
    },
    null,
    1,
  ) + "\n";

const target = chain("contracts.json");
if (!process.argv.includes("--check")) {
  writeFileSync(target, made);
} else if (!existsSync(target) || readFileSync(target, "utf8") !== made) {
  console.error('contracts.json is not what generate.mjs makes: run "npm run generate"');
  process.exit(1);
}
