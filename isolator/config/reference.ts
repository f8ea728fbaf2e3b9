/** The keys of the configuration as a table for people, from the schema: the reference in config/README.md. */
import { z } from "zod";
import { ConfigSchema } from "./schema.js";

/** What is read here of a JSON schema. */
interface Schema {
  type?: string | string[];
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  minimum?: number;
  maximum?: number;
  anyOf?: Schema[];
  properties?: Record<string, Schema>;
  items?: Schema;
  required?: string[];
}

interface Entry {
  key: string;
  type: string;
  value: string;
  meaning: string;
}

const LARGE = 2 ** 31;

function typeOf({
  type,
  enum: words,
  const: only,
  anyOf,
  items,
  properties,
  minimum,
  maximum,
}: Schema): string {
  if (words) return words.map((word) => `\`${String(word)}\``).join(", ");
  if (only !== undefined) return `\`${JSON.stringify(only).replaceAll('"', "")}\``;
  if (anyOf) return anyOf.map(typeOf).join(" or ");
  if (items?.enum) return `list of ${typeOf(items)}`;
  if (type === "array") return items?.properties ? "list of maps" : "list of texts";
  if (type === "object") return properties ? "map" : "map of texts";
  if (type === "integer" || type === "number") {
    const [from, to] = [minimum ?? -LARGE, maximum ?? LARGE];
    return from > -LARGE && to < LARGE
      ? `number, ${from} to ${to}`
      : from > -LARGE
        ? `number, at least ${from}`
        : "number";
  }
  return [type ?? "any"].flat().join(" or ").replaceAll("string", "text");
}

function defaultOf(schema: Schema, required: boolean): string {
  if (required && schema.default === undefined) return "required";
  const { default: value } = schema;
  if (value === undefined || typeof value === "object") return "";
  return `\`${JSON.stringify(value).replaceAll('"', "")}\``;
}

/** Parents before what is in them, in the schema's order. */
function entriesOf(schema: Schema, prefix: string): Entry[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, value]) => {
    const key = `${prefix}${name}`;
    const own: Entry = {
      key: value.items?.properties ? `${key}[]` : key,
      type: typeOf(value),
      value: defaultOf(value, schema.required?.includes(name) ?? false),
      meaning: value.description ?? "",
    };
    return [own, ...entriesOf(value, `${key}.`), ...(value.items ? entriesOf(value.items, `${key}[].`) : [])];
  });
}

/** @returns a table in Markdown */
export function renderReference(): string {
  const schema = z.toJSONSchema(ConfigSchema, { io: "input" }) as Schema;
  const cell = (text: string): string => text.replaceAll("|", "\\|").replaceAll("\n", " ");
  const rows = entriesOf(schema, "").map(
    ({ key, type, value, meaning }) => `| \`${key}\` | ${cell(type)} | ${cell(value)} | ${cell(meaning)} |`,
  );
  return ["| key | value | default | meaning |", "| :-- | :-- | :-- | :-- |", ...rows].join("\n");
}
