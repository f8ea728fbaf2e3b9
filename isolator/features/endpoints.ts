/**
 * Endpoints: which addresses and ports of the cluster are in which class. The kernel's side is bpf/endpoints.h; README.md,
 * "Endpoints", is the user's; isolator/cluster/ is where they come from.
 */
import { decode, encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseAddress, parseCidr } from "./addresses.js";
import { decodeClasses, type Membership } from "./classes.js";

export const ENDPOINT_PROTOCOLS = ["tcp", "udp"] as const;
export type EndpointProtocol = (typeof ENDPOINT_PROTOCOLS)[number];

export const PROTOCOL_NUMBERS: Readonly<Record<EndpointProtocol, number>> = { tcp: 6, udp: 17 };

/** A place of the cluster, in the kernel's terms. */
export interface Place {
  /** "10.1.2.3", "fd00::1"; with a prefix length ("10.0.0.0/8") a block of addresses, which has neither port nor protocol. */
  address: string;
  /** Undefined: the whole address. */
  port?: number;
  /** Undefined: every one. */
  protocol?: EndpointProtocol;
}

/** A place, what it is, and whose. */
export interface Endpoint extends Place {
  classes: readonly Membership[];
  /** What the source knows it by: a task's id. */
  task?: string;
}

/**
 * A place in one text, which maps of many thousands are keyed by: the kernel's key, a byte a character. A block has a
 * shorter one.
 */
export type PlaceKey = string;

const KEY = layouts.structs.endpoint_key;
const BLOCK = layouts.structs.address_block;
export const KEY_SIZE: number = KEY.size;
/** Bytes of the kernel's key of a block. */
export const BLOCK_SIZE: number = BLOCK.size;
const BLOCK_TEXT = 17;
const MAX_PREFIX = 128;

const scratch = Buffer.alloc(KEY.size);

/** @param address 16 bytes @param port 0: the whole address @param protocol IPPROTO_*, 0: every one */
export function placeKey(address: Uint8Array, port: number, protocol: number): PlaceKey {
  scratch.set(address, KEY.fields.address.offset);
  new DataView(scratch.buffer, scratch.byteOffset).setUint16(KEY.fields.port.offset, port, LITTLE);
  scratch[KEY.fields.protocol.offset] = protocol;
  return scratch.toString("latin1");
}

/** @param prefix bits of the 128 */
export function blockKey(address: Uint8Array, prefix: number): PlaceKey {
  return String.fromCharCode(prefix, ...address);
}

export function isBlock(key: PlaceKey): boolean {
  return key.length === BLOCK_TEXT;
}

/** Length of the prefix that a mask is. */
export function prefixOf(mask: Uint8Array): number {
  return mask.reduce((bits, byte) => bits + byte.toString(2).replaceAll("0", "").length, 0);
}

/** @throws bad-argument where the address is none */
export function keyOf({ address, port = 0, protocol }: Place): PlaceKey {
  const bytes = parseAddress(address);
  if (bytes) return placeKey(bytes, port, protocol ? PROTOCOL_NUMBERS[protocol] : 0);
  const block = parseCidr(address);
  const prefix = prefixOf(block.mask);
  return prefix === MAX_PREFIX ? placeKey(block.address, 0, 0) : blockKey(block.address, prefix);
}

/** What a key was made of. */
export function placeOf(key: PlaceKey): Place {
  if (isBlock(key)) {
    const bytes = Buffer.from(key.slice(1), "latin1");
    const prefix = key.charCodeAt(0);
    const address = formatAddress(bytes);
    const bits = address.includes(":") || prefix < 96 ? prefix : prefix - 96;
    return { address: `${address}/${bits}` };
  }
  const { address, port, protocol } = decode(KEY, Buffer.from(key, "latin1"));
  const name = ENDPOINT_PROTOCOLS.find((candidate) => PROTOCOL_NUMBERS[candidate] === protocol);
  return {
    address: formatAddress(address),
    ...(port === 0 ? {} : { port }),
    ...(name === undefined ? {} : { protocol: name }),
  };
}

/** @param bytes the kernel's key of a set of endpoints, or of a block */
export function keyFromBytes(bytes: Uint8Array, block: boolean): PlaceKey {
  if (!block) return Buffer.from(bytes).toString("latin1");
  const { prefix, address } = decode(BLOCK, bytes);
  return blockKey(address, prefix);
}

/** Key of the maps in endpoint_blocks, and of host_addresses. */
export function encodeBlock(key: PlaceKey): Uint8Array {
  return encode(BLOCK, { prefix: key.charCodeAt(0), address: Buffer.from(key.slice(1), "latin1") });
}

/** "tcp 10.1.2.3:31000", "10.1.2.3:31000", "tcp [fd00::1]:80", "10.1.2.3", "10.0.0.0/8". */
export function formatPlace({ address, port, protocol }: Place): string {
  const host = address.includes(":") && port !== undefined ? `[${address}]` : address;
  return `${protocol ? `${protocol} ` : ""}${host}${port === undefined ? "" : `:${port}`}`;
}

const FOUND = layouts.structs.endpoint_found;
const ORIGINS = {
  ORIGIN_NONE: "nothing",
  ORIGIN_OWNER: "the owner of the port",
  ORIGIN_PORT: "an endpoint",
  ORIGIN_ADDRESS: "a whole address",
  ORIGIN_BLOCK: "a block of addresses",
} as const satisfies Record<keyof typeof layouts.enums.endpoint_origin, string>;

/** What the kernel knows of a destination. */
export interface FoundEndpoint {
  classes: Membership[];
  /** By what it was found. */
  origin: (typeof ORIGINS)[keyof typeof ORIGINS];
  /** It is an address of this host. */
  local: boolean;
  /** cgroup id of the container that owns the port, where it is local. */
  owner?: bigint;
}

/** Bytes of a question and its answer (bpf/endpoints.h), more than addressOf() needs. */
const FRAME = 72;

/** The question what is known of a destination. */
export function encodeQuestion(address: Uint8Array, port: number, protocol: number): Uint8Array {
  const frame = new Uint8Array(FRAME);
  frame.set(encode(KEY, { address, port, protocol, reserved: 0 }));
  return frame;
}

/** @param names of all classes that there may be */
export function decodeFound(answer: Uint8Array, names: readonly string[]): FoundEndpoint {
  const { ids, owner, origin, local } = decode(FOUND, answer);
  const name = Object.entries(layouts.enums.endpoint_origin).find(([, value]) => value === origin)?.[0];
  return {
    classes: decodeClasses(ids, names),
    origin: ORIGINS[(name ?? "ORIGIN_NONE") as keyof typeof ORIGINS],
    local: local !== 0,
    ...(owner === 0n ? {} : { owner }),
  };
}
