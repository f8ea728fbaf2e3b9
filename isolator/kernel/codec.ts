/** Kernel data as JavaScript values and back, by the generated layouts. All of it is in the machine's byte order. */
import type { Field, Layout, Scalar } from "./btf.js";

type ArrayOf<S extends Scalar> = S extends "u8" ? Uint8Array : S extends "u64" ? bigint[] : number[];
type ScalarOf<S extends Scalar> = S extends "u64" ? bigint : number;
type ValueOf<F> = F extends { type: infer S extends Scalar; count: number }
  ? ArrayOf<S>
  : F extends { type: infer S extends Scalar }
    ? ScalarOf<S>
    : never;

/** The value that a layout describes: u64 as bigint, smaller ones as number, bytes as Uint8Array. */
export type Struct<L extends { fields: Record<string, object> }> = {
  -readonly [K in keyof L["fields"]]: ValueOf<L["fields"][K]>;
};

const SIZES: Record<Scalar, number> = { u8: 1, u16: 2, u32: 4, u64: 8 };
/** Whether the machine's byte order is that: for DataView. */
export const LITTLE = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1;

function readScalar(view: DataView, offset: number, type: Scalar): number | bigint {
  switch (type) {
    case "u8":
      return view.getUint8(offset);
    case "u16":
      return view.getUint16(offset, LITTLE);
    case "u32":
      return view.getUint32(offset, LITTLE);
    case "u64":
      return view.getBigUint64(offset, LITTLE);
  }
}

function writeScalar(view: DataView, offset: number, type: Scalar, value: number | bigint): void {
  switch (type) {
    case "u8":
      view.setUint8(offset, Number(value));
      return;
    case "u16":
      view.setUint16(offset, Number(value), LITTLE);
      return;
    case "u32":
      view.setUint32(offset, Number(value), LITTLE);
      return;
    case "u64":
      view.setBigUint64(offset, BigInt(value), LITTLE);
  }
}

function offsetsOf(field: Field): number[] {
  return Array.from({ length: field.count ?? 1 }, (_, i) => field.offset + i * SIZES[field.type]);
}

/** Decodes one struct at the start of `bytes`. */
export function decode<L extends Layout>(layout: L, bytes: Uint8Array): Struct<L> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, layout.size);
  const fields = Object.entries<Field>(layout.fields).map(([name, field]) => {
    if (field.count === undefined) return [name, readScalar(view, field.offset, field.type)];
    if (field.type === "u8") return [name, bytes.slice(field.offset, field.offset + field.count)];
    return [name, offsetsOf(field).map((offset) => readScalar(view, offset, field.type))];
  });
  return Object.fromEntries(fields) as Struct<L>;
}

/** Encodes one struct; every field must be there, and every byte that no field names is zero. */
export function encode<L extends Layout>(layout: L, value: Struct<L>): Uint8Array {
  const bytes = new Uint8Array(layout.size);
  const view = new DataView(bytes.buffer);
  const values = value as Record<string, number | bigint | ArrayLike<number | bigint>>;
  for (const [name, field] of Object.entries<Field>(layout.fields)) {
    const given = values[name];
    if (given === undefined) throw new Error(`no value for ${name}`);
    const list = typeof given === "object" ? given : [given];
    offsetsOf(field).forEach((offset, i) => {
      writeScalar(view, offset, field.type, list[i] ?? 0);
    });
  }
  return bytes;
}

/** A u64 as map key. */
export function u64Key(value: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([value]).buffer);
}

/** A u32 as map key. */
export function u32Key(value: number): Uint8Array {
  return new Uint8Array(new Uint32Array([value]).buffer);
}
