/** What zod found wrong with a configuration, in words: what is wrong, and what is allowed. */
import { z } from "zod";
import type { Problem } from "./problem.js";
import { ConfigSchema, crossProblems, toConfig, type Config } from "./schema.js";
import { suggest } from "./suggest.js";

const MAX_SHOWN = 40;

function show(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text;
}

function valueAt(root: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (value, segment) =>
      typeof value === "object" && value !== null
        ? (value as Record<PropertyKey, unknown>)[segment]
        : undefined,
    root,
  );
}

/** The schema of what stands at a path. */
function schemaAt(path: readonly PropertyKey[]): unknown {
  let schema: unknown = ConfigSchema;
  for (const segment of path) {
    while (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) schema = schema.unwrap();
    if (schema instanceof z.ZodObject) schema = (schema.shape as Record<PropertyKey, unknown>)[segment];
    else if (schema instanceof z.ZodArray) schema = schema.element;
    else if (schema instanceof z.ZodRecord) schema = schema.valueType;
    else return undefined;
  }
  while (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault) schema = schema.unwrap();
  return schema;
}

function keysAt(path: readonly PropertyKey[]): string[] {
  const schema = schemaAt(path);
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

function oneOf(values: readonly unknown[]): string {
  const words = values.map(String);
  return words.length > 1 ? `${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}` : (words[0] ?? "");
}

function didYouMean(word: unknown, known: readonly string[]): string {
  const found = typeof word === "string" ? suggest(word, known) : undefined;
  return found === undefined ? "" : ` (did you mean ${found}?)`;
}

const KINDS: Record<string, string> = {
  string: "text",
  array: "a list, as in [a, b]",
  object: "a map of keys",
  record: "a map of keys",
};

function kindOf(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "object") return "a map of keys";
  return typeof value === "string" ? "text" : `a ${typeof value}`;
}

/** What a value of this place may be. */
function allowedAt(path: readonly PropertyKey[], expected: string): string {
  const schema = schemaAt(path);
  if (schema instanceof z.ZodEnum) return oneOf(schema.options);
  return KINDS[expected] ?? expected;
}

function describeType(value: unknown, path: readonly PropertyKey[], expected: string): string {
  const allowed = allowedAt(path, expected);
  if (value === undefined) return `is missing: give ${allowed}`;
  if (value === null) return `is empty: give ${allowed}, or leave the key out`;
  if (typeof value !== "number" && typeof value !== "boolean") return `is ${kindOf(value)}: give ${allowed}`;
  const quotes = allowed === KINDS["string"] ? `, with quotes: "${value}"` : "";
  return `is ${kindOf(value)}, ${value}: give ${allowed}${quotes}`;
}

interface Found extends Problem {
  /** It is about the key, not its value. */
  key?: true;
}

function describeIssue(issue: z.core.$ZodIssue, root: unknown): Found[] {
  const { path } = issue;
  const value = valueAt(root, path);
  switch (issue.code) {
    case "unrecognized_keys": {
      const known = keysAt(path);
      return issue.keys.map((key) => ({
        path: [...path, key],
        key: true,
        message: `unknown key${didYouMean(key, known)}; allowed here: ${known.join(", ")}`,
      }));
    }
    case "invalid_value": {
      // Words of the enum; what is no text at all is told so.
      if (typeof value !== "string") return [{ path, message: describeType(value, path, "string") }];
      const allowed = issue.values.map(String);
      return [
        {
          path,
          message: `${show(value)} is not allowed: give ${oneOf(allowed)}${didYouMean(value, allowed)}`,
        },
      ];
    }
    case "invalid_type":
      return [{ path, message: describeType(value, path, issue.expected) }];
    case "invalid_key":
      return [{ path, key: true, message: issue.issues[0]?.message ?? issue.message }];
    default:
      return [{ path, message: issue.message }];
  }
}

/** @returns the configuration, or everything that is wrong with it */
export function readConfig(value: unknown): Config | Found[] {
  // A file in which nothing is set.
  const root = value ?? {};
  const result = ConfigSchema.safeParse(root);
  const issues = result.success ? [] : result.error.issues.flatMap((issue) => describeIssue(issue, root));
  const problems = [...issues, ...crossProblems(root)];
  return result.success && problems.length === 0 ? toConfig(result.data) : problems;
}

/** "exemptions[0].match.role"; "" for the whole file. */
export function formatPath(path: readonly PropertyKey[]): string {
  return path
    .map((segment, i) => {
      if (typeof segment === "number") return `[${segment}]`;
      const name = String(segment);
      if (!/^[A-Za-z_][A-Za-z0-9_-]{0,63}$/.test(name)) return `[${show(name)}]`;
      return i === 0 ? name : `.${name}`;
    })
    .join("");
}
