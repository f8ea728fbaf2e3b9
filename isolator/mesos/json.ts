/** Messages in JSON, as Mesos reads and writes them (3rdparty/stout/include/stout/protobuf.hpp and json.hpp). */
import protobuf from "protobufjs/light.js";
import {
  isEmpty,
  isObject,
  LIMITS,
  mapField,
  MAX_DEPTH,
  propertiesOf,
  type Properties,
} from "./reflection.js";

const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;
const INTEGER = /^-?\d{1,20}$/;
const NUMBER = /^-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?$/;
/** What JSON has no number for. */
const NOT_FINITE: readonly string[] = ["Infinity", "-Infinity", "NaN"];

/** Names a value without all of it, which may be large or deep. */
function show(value: unknown): string {
  if (Array.isArray(value)) return "an array";
  if (typeof value === "string")
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  return typeof value === "object" && value !== null ? "an object" : String(value);
}

function wrong(path: string, value: unknown, wanted: string): Error {
  return new Error(`${path} is ${show(value)}, which is not ${wanted}`);
}

function readInteger(type: string, [min, max]: readonly [bigint, bigint], value: unknown, path: string) {
  // A number above 2^53 has been rounded by the parser, and nobody knows what it was.
  const exact = typeof value === "number" ? Number.isSafeInteger(value) : true;
  if (!exact && Number.isInteger(value)) {
    throw new Error(`${path} is a number above 2^53, which JSON cannot say exactly: give it as a string`);
  }
  const isInteger = typeof value === "number" ? exact : typeof value === "string" && INTEGER.test(value);
  const integer = isInteger ? BigInt(value as number | string) : undefined;
  if (integer === undefined || integer < min || integer > max) {
    throw wrong(path, value, `an integer of ${min} to ${max}`);
  }
  return type.endsWith("64") ? integer : Number(integer);
}

function readDouble(value: unknown, path: string): number {
  if (typeof value === "number") return value;
  if (typeof value === "string" && (NUMBER.test(value) || NOT_FINITE.includes(value))) return Number(value);
  throw wrong(path, value, "a number");
}

function readBoolean(value: unknown, path: string): boolean {
  if (typeof value === "boolean") return value;
  if (value === "true" || value === "false") return value === "true";
  throw wrong(path, value, "true or false");
}

function readScalar(type: string, value: unknown, path: string): unknown {
  const limits = LIMITS[type];
  if (limits) return readInteger(type, limits, value, path);
  if (type === "double") return readDouble(value, path);
  if (type === "bool") return readBoolean(value, path);
  if (typeof value !== "string") throw wrong(path, value, "a string");
  if (type === "string") return value;
  if (!BASE64.test(value)) throw wrong(path, value, "base64");
  return new Uint8Array(Buffer.from(value, "base64"));
}

/** @returns undefined for a name that the enum does not have */
function readEnum(type: protobuf.Enum, value: unknown, path: string): number | undefined {
  if (typeof value !== "string") throw wrong(path, value, `a name of ${type.fullName.slice(1)}`);
  return Object.hasOwn(type.values, value) ? type.values[value] : undefined;
}

function readOne(field: protobuf.Field, value: unknown, path: string, depth: number): unknown {
  if (field.resolvedType instanceof protobuf.Type) return readMessage(field.resolvedType, value, path, depth);
  if (field.resolvedType) return readEnum(field.resolvedType, value, path);
  return readScalar(field.type, value, path);
}

function readField(field: protobuf.Field, value: unknown, path: string, depth: number): unknown {
  if (field.map) {
    if (!isObject(value)) throw wrong(path, value, "an object");
    const entries = Object.entries(value).map(([key, item]) => [
      key,
      readOne(field, item, `${path}[${JSON.stringify(key.slice(0, 40))}]`, depth),
    ]);
    return entries.length > 0 ? Object.fromEntries(entries) : undefined;
  }
  if (!field.repeated) return readOne(field, value, path, depth);
  if (!Array.isArray(value)) throw wrong(path, value, "an array");
  const items = value
    .map((item: unknown, i) => readOne(field, item, `${path}[${i}]`, depth))
    .filter((item) => item !== undefined);
  return items.length > 0 ? items : undefined;
}

function readMessage(type: protobuf.Type, value: unknown, path: string, depth: number): Properties {
  if (depth > MAX_DEPTH) throw new Error(`messages are nested more than ${MAX_DEPTH} deep`);
  if (!isObject(value)) throw wrong(path || "the message", value, "an object");
  const entries: [string, unknown][] = [];
  for (const field of type.fieldsArray) {
    const at = path ? `${path}.${field.name}` : field.name;
    const given = Object.hasOwn(value, field.name) ? (value[field.name] ?? undefined) : undefined;
    const read = given === undefined ? undefined : readField(field, given, at, depth + 1);
    if (read !== undefined) entries.push([field.name, read]);
    else if (!field.required) continue;
    else if (given === undefined) throw new Error(`${at} is missing`);
    else throw wrong(at, given, `a name that ${field.type} has`);
  }
  return Object.fromEntries(entries);
}

/** @param value of JSON.parse(). @throws Error that names the field by its path */
export function readJson(type: protobuf.Type, value: unknown): Properties {
  return readMessage(type, value, "", 0);
}

function writeOne(field: protobuf.Field, value: unknown): unknown {
  if (field.resolvedType instanceof protobuf.Type) return writeJson(field.resolvedType, propertiesOf(value));
  if (field.resolvedType) return field.resolvedType.valuesById[value as number] ?? value;
  if (typeof value === "bigint") {
    const number = Number(value);
    return Number.isSafeInteger(number) ? number : value.toString();
  }
  if (typeof value === "number") return Number.isFinite(value) ? value : String(value);
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64") : value;
}

/** Lists and maps that are empty are left out, as Mesos does. @returns what JSON.stringify() takes */
export function writeJson(type: protobuf.Type, message: Properties): object {
  const entries: [string, unknown][] = [];
  for (const field of type.fieldsArray) {
    const value = message[field.name];
    if (value === undefined || isEmpty(field, value)) continue;
    entries.push([field.name, mapField(field, value, (item) => writeOne(field, item))]);
  }
  return Object.fromEntries(entries);
}
