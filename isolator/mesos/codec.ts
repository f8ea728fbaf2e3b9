/**
 * A message as bytes, as JSON and as an object: what isolator/mesos/messages.ts hands out for each message.
 *
 * Objects are plain and have only what is set: an absent field, an empty list and an empty map are undefined. int64 and
 * uint64 are bigint, so that no counter is misread beyond 2^53; enums are numbers. Fields that proto/ leaves out, and
 * values that an enum does not have, stay in `$unknowns` and are encoded again.
 */
import protobuf from "protobufjs/light.js";
import { IsolatorError, messageOf } from "../errors.js";
import { readJson, writeJson } from "./json.js";
import {
  is64,
  isEmpty,
  mapField,
  propertiesOf,
  toBigInt,
  toWords,
  type Properties,
  type Words,
} from "./reflection.js";

/** A field's tag: its number, and the wire type of messages. */
const TAG_SHIFT = 3;
const WIRE_TYPE = 7;
const LENGTH_DELIMITED = 2;
/** Of a field that is split off: each takes memory of its own, however short it is. */
const MOST_VALUES = 100_000;
/** Where protobufjs keeps fields that it does not know. */
const UNKNOWNS = "$unknowns";

/** From what protobufjs decodes: an instance whose prototype has the defaults, with pairs of words for 64 bits. */
function fromWire(type: protobuf.Type, message: Properties): Properties {
  const result: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    const field = type.fields[name];
    if (!field || isEmpty(field, value)) continue;
    const { resolvedType } = field;
    if (resolvedType instanceof protobuf.Type) {
      result[name] = mapField(field, value, (item) => fromWire(resolvedType, propertiesOf(item)));
    } else {
      result[name] = is64(field) ? mapField(field, value, (item) => toBigInt(field, item as Words)) : value;
    }
  }
  // Not enumerable there.
  if (Object.hasOwn(message, UNKNOWNS)) result[UNKNOWNS] = message[UNKNOWNS];
  return result;
}

const required = new WeakMap<protobuf.Type, readonly protobuf.Field[]>();

/** Few of a type's many fields are. */
function requiredOf(type: protobuf.Type): readonly protobuf.Field[] {
  const known = required.get(type);
  if (known) return known;
  const found = type.fieldsArray.filter((field) => field.required);
  required.set(type, found);
  return found;
}

/** To what protobufjs encodes. @throws Error that names the field */
function toWire(type: protobuf.Type, message: Properties): Properties {
  for (const field of requiredOf(type)) {
    if (message[field.name] === undefined) throw new Error(`${field.fullName.slice(1)} is missing`);
  }
  const result: Record<string, unknown> = {};
  // A message has few of its type's fields.
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined) continue;
    const field = Object.hasOwn(type.fields, name) ? type.fields[name] : undefined;
    if (!field) continue;
    const { resolvedType } = field;
    if (resolvedType instanceof protobuf.Type) {
      result[name] = mapField(field, value, (item) => toWire(resolvedType, propertiesOf(item)));
    } else {
      result[name] = is64(field) ? mapField(field, value, (item) => toWords(field, item as bigint)) : value;
    }
  }
  if (message[UNKNOWNS] !== undefined) result[UNKNOWNS] = message[UNKNOWNS];
  return result;
}

/** @typeParam T the message's interface in gen/types.ts */
export class MessageCodec<T extends object> {
  /** @param type the message's descriptor, resolved */
  constructor(private readonly type: protobuf.Type) {}

  /** "mesos.ContainerID". */
  get name(): string {
    return this.type.fullName.slice(1);
  }

  /** @throws bad-message */
  decode(bytes: Uint8Array): T {
    try {
      const reader = protobuf.Reader.create(bytes);
      reader.discardUnknown = false;
      return fromWire(this.type, propertiesOf(this.type.decode(reader))) as T;
    } catch (error) {
      throw this.bad("protobuf", error);
    }
  }

  /** @throws Error when a required field is missing, which is the caller's mistake */
  encode(message: T): Uint8Array {
    return this.type.encode(toWire(this.type, propertiesOf(message))).finish();
  }

  /**
   * Encodes a message that has one field only, whose values are encoded already: for what is too long for one go.
   * @throws Error when the message has no such field
   */
  wrap(field: keyof T & string, values: readonly Uint8Array[]): Uint8Array {
    const { id } = this.type.get(field) as protobuf.Field;
    const writer = protobuf.Writer.create();
    for (const value of values) writer.uint32((id << TAG_SHIFT) | LENGTH_DELIMITED).bytes(value);
    return writer.finish();
  }

  /**
   * Takes the values of a field out of an encoded message: for what is too long for one go.
   * @returns the bytes of each value, at most MOST_VALUES, and of the message without them
   * @throws bad-message; Error when the message has no such field
   */
  split(field: keyof T & string, bytes: Uint8Array): { values: Uint8Array[]; rest: Uint8Array } {
    const { id } = this.type.get(field) as protobuf.Field;
    const values: Uint8Array[] = [];
    const others: Uint8Array[] = [];
    try {
      const reader = protobuf.Reader.create(bytes);
      // Where the fields begin that are in no value.
      let other = 0;
      while (reader.pos < reader.len) {
        const begin = reader.pos;
        const tag = reader.tag();
        if (tag !== ((id << TAG_SHIFT) | LENGTH_DELIMITED)) {
          reader.skipType(tag & WIRE_TYPE);
          continue;
        }
        if (values.length === MOST_VALUES) throw new Error(`more than ${MOST_VALUES} of ${field}`);
        others.push(bytes.subarray(other, begin));
        values.push(reader.bytes());
        other = reader.pos;
      }
      others.push(bytes.subarray(other));
    } catch (error) {
      throw this.bad("protobuf", error);
    }
    return { values, rest: Buffer.concat(others) };
  }

  /**
   * From JSON as Mesos reads it: original field names, enums by name, 64 bits as number or string, bytes as base64;
   * keys that it does not know are left out, and so is an enum's name that it does not know, unless the field is required.
   * Stricter than Mesos in that a number has to fit its field.
   * @throws bad-message, which names the field
   */
  parseJson(text: string): T {
    return this.fromJson(this.parse(text));
  }

  /** The first half of parseJson(). @throws bad-message */
  parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.bad("JSON", error);
    }
  }

  /** The other half. @param value what JSON.parse() gave @throws bad-message, which names the field */
  fromJson(value: unknown): T {
    try {
      return readJson(this.type, value) as T;
    } catch (error) {
      throw this.bad("JSON", error);
    }
  }

  /**
   * To JSON as Mesos writes it: 64 bits as numbers, as strings only where a number would not be exact. Unknown fields
   * have no name and are left out.
   */
  toJson(message: T): object {
    return writeJson(this.type, propertiesOf(message));
  }

  private bad(encoding: string, error: unknown): IsolatorError {
    return new IsolatorError("bad-message", `no ${this.name} in ${encoding}: ${messageOf(error)}`, error);
  }
}
