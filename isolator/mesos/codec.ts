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
import { is64, propertiesOf, toBigInt, toWords, type Properties, type Words } from "./reflection.js";

/** From what protobufjs decodes: an instance whose prototype has the defaults, with Long for 64 bits. */
function fromWire(type: protobuf.Type, message: protobuf.Message): Properties {
  const values = message as unknown as Properties;
  const entries: [string, unknown][] = [];
  for (const field of type.fieldsArray) {
    if (!Object.hasOwn(values, field.name)) continue;
    const value = values[field.name];
    const one = (item: unknown): unknown => {
      if (field.resolvedType instanceof protobuf.Type)
        return fromWire(field.resolvedType, item as protobuf.Message);
      return is64(field) ? toBigInt(field, item as Words) : item;
    };
    if (field.map) {
      const items = Object.entries(propertiesOf(value)).map(([key, item]) => [key, one(item)]);
      if (items.length > 0) entries.push([field.name, Object.fromEntries(items)]);
    } else if (!field.repeated) {
      entries.push([field.name, one(value)]);
    } else if ((value as unknown[]).length > 0) {
      entries.push([field.name, (value as unknown[]).map(one)]);
    }
  }
  if (Object.hasOwn(values, "$unknowns")) entries.push(["$unknowns", values["$unknowns"]]);
  return Object.fromEntries(entries);
}

/** To what protobufjs encodes. @throws Error that names the field */
function toWire(type: protobuf.Type, values: Properties): Properties {
  const entries: [string, unknown][] = [];
  for (const field of type.fieldsArray) {
    const value = values[field.name];
    if (value === undefined) {
      if (field.required) throw new Error(`${field.fullName.slice(1)} is missing`);
      continue;
    }
    const one = (item: unknown): unknown => {
      if (field.resolvedType instanceof protobuf.Type) return toWire(field.resolvedType, propertiesOf(item));
      return is64(field) ? toWords(field, item as bigint) : item;
    };
    if (field.map) {
      const items = Object.entries(propertiesOf(value)).map(([key, item]) => [key, one(item)]);
      entries.push([field.name, Object.fromEntries(items)]);
    } else {
      entries.push([field.name, field.repeated ? (value as unknown[]).map(one) : one(value)]);
    }
  }
  if (values["$unknowns"] !== undefined) entries.push(["$unknowns", values["$unknowns"]]);
  return Object.fromEntries(entries);
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
      return fromWire(this.type, this.type.decode(reader)) as T;
    } catch (error) {
      throw this.bad("protobuf", error);
    }
  }

  /** @throws Error when a required field is missing, which is the caller's mistake */
  encode(message: T): Uint8Array {
    return this.type.encode(toWire(this.type, propertiesOf(message))).finish();
  }

  /**
   * From JSON as Mesos reads it: original field names, enums by name, 64 bits as number or string, bytes as base64;
   * keys that it does not know are left out, and so is an enum's name that it does not know, unless the field is required.
   * Stricter than Mesos in that a number has to fit its field.
   * @throws bad-message, which names the field
   */
  parseJson(text: string): T {
    try {
      return readJson(this.type, JSON.parse(text)) as T;
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
