/** Small views of protobufjs's values, shared by the codecs. */
import type protobuf from "protobufjs/light.js";

export type Properties = Readonly<Record<string, unknown>>;

/** As deep as protobufjs and Mesos's own protobuf decode messages. */
export const MAX_DEPTH = 100;

/** What the types of integers hold. */
export const LIMITS: Readonly<Record<string, readonly [bigint, bigint]>> = {
  int32: [-(2n ** 31n), 2n ** 31n - 1n],
  uint32: [0n, 2n ** 32n - 1n],
  int64: [-(2n ** 63n), 2n ** 63n - 1n],
  uint64: [0n, 2n ** 64n - 1n],
};

/** A message or map by the names of its fields. */
export function propertiesOf(value: unknown): Properties {
  return value as Properties;
}

export function isObject(value: unknown): value is Properties {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Whether the field is a bigint here. */
export function is64(field: protobuf.Field): boolean {
  return field.type === "uint64" || field.type === "int64";
}

/** 64 bits as protobufjs has them. */
export interface Words {
  readonly low: number;
  readonly high: number;
}

export function toBigInt(field: protobuf.Field, { low, high }: Words): bigint {
  const bits = (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
  return field.type === "int64" ? BigInt.asIntN(64, bits) : bits;
}

/** @throws Error when it does not fit */
export function toWords(field: protobuf.Field, value: bigint): Words {
  const [min, max] = LIMITS[field.type] ?? [0n, 0n];
  if (value < min || value > max) throw new Error(`${value} does not fit ${field.fullName.slice(1)}`);
  return { low: Number(BigInt.asIntN(32, value)), high: Number(BigInt.asIntN(32, value >> 32n)) };
}

/** One value of a field by `convert`, or each value of a list or map. */
export function mapField(
  field: protobuf.Field,
  value: unknown,
  convert: (item: unknown) => unknown,
): unknown {
  if (field.map) {
    return Object.fromEntries(Object.entries(propertiesOf(value)).map(([key, item]) => [key, convert(item)]));
  }
  return field.repeated ? (value as unknown[]).map(convert) : convert(value);
}

/** Whether it is a list or map of nothing, which is the same as absent. */
export function isEmpty(field: protobuf.Field, value: unknown): boolean {
  if (field.map) return Object.keys(propertiesOf(value)).length === 0;
  return field.repeated && (value as unknown[]).length === 0;
}
