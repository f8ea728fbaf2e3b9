/**
 * `npm run generate`: writes isolator/mesos/gen/ from proto/: descriptor.ts, which the codecs work from, and types.ts,
 * the same messages as TypeScript. With --check it only says whether they are up to date (exit 1 when not).
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import protobuf from "protobufjs";

const PROTO = fileURLToPath(new URL("../../../proto/", import.meta.url));
const GEN = new URL("../../../isolator/mesos/gen/", import.meta.url);
const HEADER = "// Generated from proto/ by isolator/mesos/generate.ts (npm run generate). Do not edit.\n";

const SCALARS: Readonly<Record<string, string>> = {
  string: "string",
  bytes: "Uint8Array",
  bool: "boolean",
  double: "number",
  int32: "number",
  uint32: "number",
  int64: "bigint",
  uint64: "bigint",
};

function loadRoot(): protobuf.Root {
  const root = new protobuf.Root();
  // Imports are named from proto/ down, as protoc -I does it.
  root.resolvePath = (_origin, target) => (target.startsWith(PROTO) ? target : PROTO + target);
  root.loadSync(["isolator.proto", "mesos/master/master.proto"], {
    keepCase: true,
    alternateCommentMode: true,
  });
  root.resolveAll();
  return root;
}

function comment(text: string | null | undefined, indent: string): string {
  if (!text) return "";
  return `${indent}/** ${text.replaceAll("*/", "* /").split("\n").join(`\n${indent} * `)} */\n`;
}

function typeOf(field: protobuf.Field): string {
  const base = field.resolvedType?.fullName.slice(1) ?? SCALARS[field.type];
  if (base === undefined) throw new Error(`${field.fullName}: ${field.type} is not supported`);
  if (field instanceof protobuf.MapField) return `{ readonly [key: string]: ${base} }`;
  return field.repeated ? `readonly ${base}[]` : base;
}

function writeField(field: protobuf.Field, indent: string): string {
  const fallback: unknown = field.options?.["default"];
  const text = [field.comment, fallback === undefined ? null : `Absent means ${JSON.stringify(fallback)}.`]
    .filter(Boolean)
    .join(" ");
  const optional = field.required ? "" : "?";
  const orAbsent = field.required ? "" : " | undefined";
  return `${comment(text, indent)}${indent}readonly ${field.name}${optional}: ${typeOf(field)}${orAbsent};\n`;
}

function writeEnum(type: protobuf.Enum, indent: string): string {
  const values = Object.entries(type.values)
    .map(([name, value]) => `${comment(type.comments[name], `${indent}  `)}${indent}  ${name} = ${value},\n`)
    .join("");
  return `${comment(type.comment, indent)}${indent}export enum ${type.name} {\n${values}${indent}}\n`;
}

function writeMessage(type: protobuf.Type, indent: string): string {
  const fields = type.fieldsArray.map((field) => writeField(field, `${indent}  `)).join("");
  const unknown = `${indent}  /** Fields that this program does not know, as they came. */\n${indent}  readonly $unknowns?: readonly Uint8Array[];\n`;
  return `${comment(type.comment, indent)}${indent}export interface ${type.name} {\n${fields}${unknown}${indent}}\n`;
}

function writeNamespace(space: protobuf.ReflectionObject, indent: string): string {
  if (!(space instanceof protobuf.Namespace || space instanceof protobuf.Type)) return "";
  const inner = `${indent}  `;
  const parts = space.nestedArray.map((member) => {
    if (member instanceof protobuf.Enum) return writeEnum(member, inner);
    if (member instanceof protobuf.Type) {
      return (
        writeMessage(member, inner) + (member.nestedArray.length > 0 ? writeNamespace(member, inner) : "")
      );
    }
    return writeNamespace(member, inner);
  });
  return `${indent}export namespace ${space.name} {\n${parts.join("")}${indent}}\n`;
}

const root = loadRoot();
const files = {
  "descriptor.ts": `${HEADER}export const descriptor = ${JSON.stringify(root.toJSON(), null, 1)};\n`,
  "types.ts": HEADER + root.nestedArray.map((space) => writeNamespace(space, "")).join(""),
};

for (const [name, text] of Object.entries(files)) {
  const file = new URL(name, GEN);
  if (!process.argv.includes("--check")) {
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error(`isolator/mesos/gen/${name} is older than proto/: run npm run generate`);
    process.exitCode = 1;
  }
}
