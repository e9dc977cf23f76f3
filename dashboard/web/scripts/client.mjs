// Writes src/api/schema.ts from openapi.json: a type for every schema, and what each reading answers. `--check` compares.
import { readFileSync, writeFileSync } from "node:fs";

const source = new URL("../openapi.json", import.meta.url);
const target = new URL("../src/api/schema.ts", import.meta.url);
const document = JSON.parse(readFileSync(source, "utf8"));

function typeOf(schema) {
  if (schema.$ref) return schema.$ref.split("/").at(-1);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  const several = schema.anyOf ?? schema.oneOf;
  if (several) return [...new Set(several.map(typeOf))].join(" | ");
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "null":
      return "null";
    case "array":
      return `readonly ${wrapped(typeOf(schema.items ?? {}))}[]`;
    case "object":
      return `Readonly<Record<string, ${typeof schema.additionalProperties === "object" ? typeOf(schema.additionalProperties) : "unknown"}>>`;
    default:
      return "unknown";
  }
}

const wrapped = (type) => (/[| ]/.test(type) ? `(${type})` : type);

// What is answered has all its fields; in what is asked, one with a default may be left out.
const answered = new Set();
function reach(schema) {
  if (!schema || typeof schema !== "object") return;
  if (schema.$ref) {
    const name = schema.$ref.split("/").at(-1);
    if (answered.has(name)) return;
    answered.add(name);
    return reach(document.components.schemas[name]);
  }
  Object.values(schema).forEach(reach);
}

const operations = [];
for (const [path, methods] of Object.entries(document.paths).sort()) {
  for (const [method, operation] of Object.entries(methods).sort()) {
    const content = operation.responses?.["200"]?.content?.["application/json"]?.schema;
    if (!content?.$ref) continue;
    reach(content);
    const asked = operation.requestBody?.content?.["application/json"]?.schema;
    operations.push(`  "${method.toUpperCase()} ${path}": { answer: ${typeOf(content)}; body: ${asked ? typeOf(asked) : "undefined"} };`);
  }
}

const interfaces = Object.entries(document.components.schemas)
  .sort(([a], [b]) => (a < b ? -1 : 1))
  .map(([name, schema]) => {
    const needed = new Set(schema.required ?? []);
    const fields = Object.entries(schema.properties ?? {}).map(
      ([field, value]) => `  readonly ${field}${needed.has(field) || answered.has(name) ? "" : "?"}: ${typeOf(value)};`,
    );
    return fields.length ? `export interface ${name} {\n${fields.join("\n")}\n}` : `export type ${name} = Readonly<Record<string, never>>;`;
  });

const text = `// Made from openapi.json by scripts/client.mjs; not edited by hand.\n\n${interfaces.join("\n\n")}\n\nexport interface Operations {\n${operations.join("\n")}\n}\n`;

if (process.argv.includes("--check")) {
  if (readFileSync(target, "utf8") !== text) {
    console.error("src/api/schema.ts is not what openapi.json says: run `npm run client`");
    process.exit(1);
  }
} else {
  writeFileSync(target, text);
}
