// Says what the page weighs over the wire before the layout engine, and fails above its limit.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT = 400_000;
const folder = new URL("../dist/assets/", import.meta.url);
let total = 0;
for (const name of readdirSync(folder).sort()) {
  const size = gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length;
  const engine = name.startsWith("elk");
  if (!engine) total += size;
  console.log(`${String(size).padStart(8)}  ${name}${engine ? "  (layout engine, loaded with the first graph)" : ""}`);
}
console.log(`${String(total).padStart(8)}  bytes gzip before the layout engine; the limit is ${LIMIT}`);
process.exit(total > LIMIT ? 1 : 0);
