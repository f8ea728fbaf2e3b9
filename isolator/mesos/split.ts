/**
 * Takes the long list out of a message that is too long to be decoded in one go, without decoding it: what is left is
 * decoded as ever, and the list's messages one by one, with others having their turn in between.
 */
import { IsolatorError } from "../errors.js";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;
const TAG_SHIFT = 3;

function cut(): IsolatorError {
  return new IsolatorError("bad-message", "no message in protobuf: it ends within a field");
}

/** @returns the value, of up to 53 bits, and where it ends */
function readVarint(bytes: Uint8Array, begin: number): [value: number, end: number] {
  let value = 0;
  for (let at = begin, factor = 1; at < begin + 10; at++, factor *= 128) {
    const byte = bytes[at];
    if (byte === undefined) throw cut();
    value += (byte & 127) * factor;
    if (byte < 128) return [value, at + 1];
  }
  throw new IsolatorError("bad-message", "no message in protobuf: a number is too long");
}

function writeVarint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** Where a field's value begins and ends. */
function fieldAt(bytes: Uint8Array, wireType: number, at: number): [begin: number, end: number] {
  switch (wireType) {
    case VARINT:
      return [at, readVarint(bytes, at)[1]];
    case FIXED64:
      return [at, at + 8];
    case FIXED32:
      return [at, at + 4];
    case LENGTH_DELIMITED: {
      const [length, begin] = readVarint(bytes, at);
      return [begin, begin + length];
    }
  }
  throw new IsolatorError("bad-message", `no message in protobuf: there is no wire type ${wireType}`);
}

/**
 * @param path numbers of fields: of a message in the message, ..., and of the list
 * @returns the message without the list, and the bytes of each of the list's messages
 * @throws bad-message
 */
export function takeOut(
  bytes: Buffer,
  [wanted = 0, ...path]: readonly number[],
): { rest: Buffer; items: Buffer[] } {
  const kept: Buffer[] = [];
  const items: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const [tag, value] = readVarint(bytes, at);
    const wireType = tag % 8;
    const [begin, end] = fieldAt(bytes, wireType, value);
    if (end > bytes.length) throw cut();
    if (Math.floor(tag / 8) !== wanted || wireType !== LENGTH_DELIMITED) {
      kept.push(bytes.subarray(at, end));
    } else if (path.length === 0) {
      items.push(bytes.subarray(begin, end));
    } else {
      const inner = takeOut(bytes.subarray(begin, end), path);
      for (const item of inner.items) items.push(item);
      kept.push(
        writeVarint(wanted * 2 ** TAG_SHIFT + LENGTH_DELIMITED),
        writeVarint(inner.rest.length),
        inner.rest,
      );
    }
    at = end;
  }
  return { rest: Buffer.concat(kept), items };
}
