/** Services as keys and values of the kernel's maps. */
import { decode, encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress } from "./addresses.js";
import { classId, serviceClass } from "./classes.js";
import { PROTOCOL_NUMBERS, type EndpointProtocol } from "./endpoints.js";
import type { Slot } from "./service-slots.js";
import { addressBytes, type Backend, type Service } from "./services.js";

const { service_flag: serviceFlags } = layouts.enums;
const KEY = layouts.structs.service_key;
const SLOT_KEY = layouts.structs.service_slot_key;
const SLOT = layouts.structs.service_slot;
const BACKEND = layouts.structs.service_backend;
const { SERVICE_AT_HAND, SERVICE_BLOCK } = layouts.enums.service_sizes;
export const SERVICE_PLACES: number = layouts.enums.service_sizes.SERVICE_PLACES;
export const SERVICE_KEY_SIZE: number = KEY.size;
export const SERVICE_BACKEND_SIZE: number = BACKEND.size;
export const SLOT_KEY_SIZE: number = SLOT_KEY.size;
const SLOT_SIZE: number = SLOT.size;
const AT_HAND_SIZE = SERVICE_AT_HAND * SLOT_SIZE;
export const SERVICE_BLOCK_SIZE = SERVICE_BLOCK * SLOT_SIZE;
/** Keys of service_states. */
export const STATE_KEYS = {
  watched: layouts.enums.service_state.SERVICE_WATCHED,
  tells: layouts.enums.service_state.SERVICE_TELLS,
} as const;
export const NS_PER_S = 1_000_000_000;

/** Key of services, service_ends and service_misses. */
export function encodeServiceKey(
  set: bigint,
  { address, port, protocol }: { address: string; port: number; protocol: EndpointProtocol },
): Uint8Array {
  const { fields } = KEY;
  const bytes = new Uint8Array(KEY.size);
  const view = new DataView(bytes.buffer);
  view.setBigUint64(fields.set.offset, set, LITTLE);
  bytes.set(addressBytes(address), fields.address.offset);
  view.setUint16(fields.port.offset, port, LITTLE);
  view.setUint16(fields.protocol.offset, PROTOCOL_NUMBERS[protocol], LITTLE);
  return bytes;
}

export interface ServiceKey {
  set: bigint;
  address: string;
  port: number;
  protocol: EndpointProtocol;
}

export function decodeServiceKey(key: Uint8Array): ServiceKey {
  const { set, address, port, protocol } = decode(KEY, key);
  return {
    set,
    address: formatAddress(address),
    port,
    protocol: protocol === PROTOCOL_NUMBERS.udp ? "udp" : "tcp",
  };
}

/** Value of services. @param slots all of them, of which it has the first in itself */
export function encodeService(
  service: Service,
  { table, count, near, slots }: { table: bigint; count: number; near: number; slots: Uint8Array },
): Uint8Array {
  const head = encode(layouts.structs.service, {
    table,
    count,
    near,
    flags:
      (service.choice === "least_connections" ? serviceFlags.SERVICE_LEAST : 0) |
      (service.affinity === "container" ? serviceFlags.SERVICE_AFFINITY : 0) |
      (tellsVip(service) ? serviceFlags.SERVICE_TELL_VIP : 0) |
      (service.noBackend === "pass" ? serviceFlags.SERVICE_PASS : 0),
    class: service.name === undefined ? 0 : classId(serviceClass(service.name)),
  });
  const value = new Uint8Array(head.length + AT_HAND_SIZE);
  value.set(head);
  value.set(slots.subarray(0, AT_HAND_SIZE), head.length);
  return value;
}

/** Whether sockets are to remember the virtual address for their tasks. */
export function tellsVip({ peer }: Service): boolean {
  return peer === "vip";
}

/** Key of service_slots. */
export function encodeSlotKey(table: bigint, block: number): Uint8Array {
  return encode(SLOT_KEY, { table, block, reserved: 0 });
}

/** The table that a key of service_slots belongs to. */
export function tableOfSlot(key: Uint8Array): bigint {
  return decode(SLOT_KEY, key).table;
}

/** Value of service_ends, key of service_places. */
export function decodePlace(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, 4).getUint32(0, LITTLE);
}

/** Value of service_states, and of service_misses. */
export function encodeState(value: bigint): Uint8Array {
  return new Uint8Array(BigUint64Array.of(value).buffer);
}

export function decodeState(value: Uint8Array | undefined): bigint {
  return value ? new DataView(value.buffer, value.byteOffset, 8).getBigUint64(0, LITTLE) : 0n;
}

const ALWAYS = 0xffffffff;

/** Slots one after another. @param placeOf a backend's key in service_backends */
export function encodeSlots(slots: readonly Slot[], placeOf: (backend: Backend) => number): Uint8Array {
  const { place, other, first, weight, other_weight } = SLOT.fields;
  const bytes = new Uint8Array(slots.length * SLOT_SIZE);
  const view = new DataView(bytes.buffer);
  slots.forEach((slot, i) => {
    const at = i * SLOT_SIZE;
    view.setUint32(at + place.offset, placeOf(slot.backend), LITTLE);
    view.setUint32(at + other.offset, placeOf(slot.other), LITTLE);
    view.setUint32(at + first.offset, Math.min(ALWAYS, Math.round(slot.first * 2 ** 32)), LITTLE);
    view.setUint16(at + weight.offset, slot.backend.weight ?? 1, LITTLE);
    view.setUint16(at + other_weight.offset, slot.other.weight ?? 1, LITTLE);
  });
  return bytes;
}

/** Values of service_slots: the slots that are not at hand. */
export function blocksOf(slots: Uint8Array): Uint8Array[] {
  const blocks: Uint8Array[] = [];
  for (let at = AT_HAND_SIZE; at < slots.length; at += SERVICE_BLOCK_SIZE) {
    const block = new Uint8Array(SERVICE_BLOCK_SIZE);
    block.set(slots.subarray(at, at + SERVICE_BLOCK_SIZE));
    blocks.push(block);
  }
  return blocks;
}

/** What programs have counted of a backend. */
export interface BackendCounts {
  /** Times that it was chosen. */
  connects: bigint;
  refused: bigint;
  unanswered: bigint;
  /** TCP connections to it. */
  live: number;
  /** CLOCK_MONOTONIC, ns; 0: not avoided. */
  avoidedUntil: bigint;
}

/** Value of service_backends, new, or with the counts that it has. @param avoid seconds */
export function encodeBackend(
  { address, port }: Pick<Backend, "address" | "port">,
  avoid: number,
  counts?: BackendCounts,
): Uint8Array {
  return encode(BACKEND, {
    avoided_until: counts?.avoidedUntil ?? 0n,
    avoid: BigInt(Math.round(avoid * NS_PER_S)),
    connects: counts?.connects ?? 0n,
    refused: counts?.refused ?? 0n,
    unanswered: counts?.unanswered ?? 0n,
    live: counts?.live ?? 0,
    port,
    reserved: 0,
    address: addressBytes(address),
  });
}

/** Until when the backend of a value of service_backends is avoided: CLOCK_MONOTONIC, ns; 0: it is not. */
export function avoidedUntil(value: Uint8Array): bigint {
  const at = value.byteOffset + BACKEND.fields.avoided_until.offset;
  return new DataView(value.buffer, at, 8).getBigUint64(0, LITTLE);
}

/** Field by field, since there are many (codec.ts is for all layouts, and takes its time). */
export function decodeBackend(value: Uint8Array): BackendCounts & { avoid: number } {
  const { avoided_until, avoid, connects, refused, unanswered, live } = BACKEND.fields;
  const view = new DataView(value.buffer, value.byteOffset, BACKEND.size);
  return {
    avoidedUntil: view.getBigUint64(avoided_until.offset, LITTLE),
    avoid: Number(view.getBigUint64(avoid.offset, LITTLE)) / NS_PER_S,
    connects: view.getBigUint64(connects.offset, LITTLE),
    refused: view.getBigUint64(refused.offset, LITTLE),
    unanswered: view.getBigUint64(unanswered.offset, LITTLE),
    live: view.getUint32(live.offset, LITTLE),
  };
}
