/**
 * Part of `npm run generate`: writes config/isolator.schema.json, for editors, from the schema. With --check it only
 * says whether the file is up to date (exit 1 when not), which is part of `npm test`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { ConfigSchema } from "./schema.js";

const FILE = new URL("../../../config/isolator.schema.json", import.meta.url);

const text = `${JSON.stringify(z.toJSONSchema(ConfigSchema, { io: "input" }), null, 2)}\n`;

if (!process.argv.includes("--check")) {
  writeFileSync(FILE, text);
} else if (readFileSync(FILE, "utf8") !== text) {
  console.error("config/isolator.schema.json is older than isolator/config/schema.ts: run npm run generate");
  process.exitCode = 1;
}
