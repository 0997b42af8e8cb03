// What the programs that serve have in common.
import http from "node:http";

// What a program is told: one JSON object, its only argument.
export const told = JSON.parse(process.argv[2]);

// Serves on a port of the kernel's choice, says where in one line of JSON, and
// ends when whoever started it is gone.
export function serve(handler) {
  const server = http.createServer(handler).listen(0, "127.0.0.1", () => {
    process.stdout.write(`${JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })}\n`);
  });
  process.stdin.on("end", () => process.exit(0)).resume();
}
