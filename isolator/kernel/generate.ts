/**
 * `npm run generate`: writes isolator/kernel/gen/layout.ts from the BTF of the compiled object. With --check it only
 * says whether the file is up to date (exit 1 when not), which is part of `npm test`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { readLayouts } from "./btf.js";
import { ENUMS, OBJECT_FILE, STRUCTS } from "./object.js";

const FILE = new URL("../../../isolator/kernel/gen/layout.ts", import.meta.url);

const text =
  "// Generated from bpf/layout.h by isolator/kernel/generate.ts (npm run generate). Do not edit.\n" +
  `export const layouts = ${JSON.stringify(readLayouts(OBJECT_FILE, STRUCTS, ENUMS), null, 2)} as const;\n`;

if (!process.argv.includes("--check")) {
  writeFileSync(FILE, text);
} else if (readFileSync(FILE, "utf8") !== text) {
  console.error("isolator/kernel/gen/layout.ts is older than bpf/layout.h: run npm run generate");
  process.exitCode = 1;
}
