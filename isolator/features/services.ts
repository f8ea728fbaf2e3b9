/**
 * Services: virtual addresses that lead to backends at connect(). The kernel's side is bpf/services.h; README.md,
 * "Services", is the user's; isolator/cluster/services.ts is where a cluster's come from.
 */
import { IsolatorError } from "../errors.js";
import { decode, encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseAddress } from "./addresses.js";
import { classId, serviceClass } from "./classes.js";
import { ENDPOINT_PROTOCOLS, PROTOCOL_NUMBERS, type EndpointProtocol } from "./endpoints.js";

export const SERVICE_CHOICES = ["random", "least_connections"] as const;
export type ServiceChoice = (typeof SERVICE_CHOICES)[number];
export const SERVICE_AFFINITIES = ["none", "container"] as const;
export type ServiceAffinity = (typeof SERVICE_AFFINITIES)[number];
export const SERVICE_PEERS = ["backend", "vip"] as const;
export type ServicePeer = (typeof SERVICE_PEERS)[number];
export const NO_BACKEND_ACTIONS = ["refuse", "pass"] as const;
export type NoBackendAction = (typeof NO_BACKEND_ACTIONS)[number];

export interface Backend {
  address: string;
  port: number;
  /** Undefined: 1. */
  weight?: number;
}

/** What is said of a service, or of all that do not say it themselves. */
export interface ServiceOptions {
  choice?: ServiceChoice;
  affinity?: ServiceAffinity;
  /** Backends of this host come first. */
  preferLocal?: boolean;
  /** What getpeername() of TCP tells. */
  peer?: ServicePeer;
  noBackend?: NoBackendAction;
  /** Seconds that a backend is avoided for that has refused or not answered. */
  avoid?: number;
}

export interface Service extends ServiceOptions {
  /** By which rules name it: "/web". */
  name?: string;
  address: string;
  port: number;
  protocol: EndpointProtocol;
  backends: Backend[];
}

/** A container's use of services. */
export interface ServicesPolicy {
  /** Its own. Undefined: those of the daemon, which all of its containers share. */
  own?: Service[];
}

/** Of Marathon: segments of an id are lower-case labels of host names. */
const NAME = /^(\/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?){1,8}$/;
const MAX_NAME = 128;
export const MAX_WEIGHT = 65535;
export const MAX_BACKENDS = 16384;
export const DEFAULT_AVOID = 10;
/** Set of the services of a daemon; a cgroup id, which that of each `run` is, is never so low. */
export const SHARED_SET = BigInt(layouts.enums.service_sizes.SERVICES_SHARED);

const { policy_flags: flags, service_flag: serviceFlags } = layouts.enums;
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

export function isServiceName(name: string): boolean {
  return name.length <= MAX_NAME && NAME.test(name);
}

/** A place of a service or backend, as messages and keys of tables have it: "tcp 10.0.0.1:80". */
export function formatEnd({
  address,
  port,
  protocol,
}: Pick<Service, "address" | "port" | "protocol">): string {
  return `${protocol} ${formatPort({ address, port })}`;
}

/** "10.0.0.1:80", "[fd00::1]:80" */
export function formatPort({ address, port }: Pick<Backend, "address" | "port">): string {
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** 16 bytes. @throws bad-argument */
export function addressBytes(address: string): Uint8Array {
  const bytes = parseAddress(address);
  if (bytes) return bytes;
  throw new IsolatorError("bad-argument", `${JSON.stringify(address.slice(0, 60))} is no address`);
}

export function isIpv4Bytes(bytes: Uint8Array): boolean {
  return formatAddress(bytes).includes(".");
}

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

/** Two backends, of which one is drawn. */
export interface Slot {
  backend: Backend;
  other: Backend;
  /** Probability of the first. */
  first: number;
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

/**
 * Slots from which a backend is drawn by weight in two steps, however many there are (Vose's alias method): as many as
 * backends, and slot i has backend i first.
 */
export function slotsByWeight(backends: readonly Backend[]): Slot[] {
  const total = backends.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const share = backends.map(({ weight = 1 }) => (weight * backends.length) / total);
  const slots = backends.map((backend): Slot => ({ backend, other: backend, first: 1 }));
  const small: number[] = [];
  const large: number[] = [];
  share.forEach((part, i) => (part < 1 ? small : large).push(i));
  for (;;) {
    const less = small.pop();
    const more = large.pop();
    const [slot, giver] = [slots[less ?? -1], slots[more ?? -1]];
    if (less === undefined || more === undefined || !slot || !giver) break;
    slot.first = share[less] ?? 1;
    slot.other = giver.backend;
    const rest = (share[more] ?? 0) - (1 - slot.first);
    share[more] = rest;
    (rest < 1 ? small : large).push(more);
  }
  return slots;
}

/** Places of a backend on the ring: more spread its share more evenly. */
const PLACES = 40;
const SLOTS_PER_BACKEND = 16;
const FEWEST_SLOTS = 256;
const MOST_SLOTS = 65_536;

/** A number of 32 bits for a text (FNV-1a, and murmur3's last step). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Slots for affinity, of which a client always has the same one: by consistent hashing, so that a backend that comes or
 * goes changes the slots that it gets or had, and no others.
 */
export function slotsByAffinity(backends: readonly Backend[]): Slot[] {
  if (backends.length === 0) return [];
  const mean = backends.reduce((sum, { weight = 1 }) => sum + weight, 0) / backends.length;
  const ring = backends.flatMap((backend) => {
    const places = Math.max(1, Math.min(PLACES * 16, Math.round((PLACES * (backend.weight ?? 1)) / mean)));
    const name = formatPort(backend);
    return Array.from({ length: places }, (_, i) => ({ at: hashOf(`${name} ${i}`), backend }));
  });
  ring.sort((a, b) => a.at - b.at || formatPort(a.backend).localeCompare(formatPort(b.backend)));
  const wanted = Math.min(MOST_SLOTS, Math.max(FEWEST_SLOTS, SLOTS_PER_BACKEND * backends.length));
  const count = 2 ** Math.ceil(Math.log2(wanted));
  let next = 0;
  return Array.from({ length: count }, (_, i) => {
    const at = (i * 2 ** 32) / count;
    while (next < ring.length && (ring[next]?.at ?? 0) < at) next++;
    const backend = (ring[next % ring.length] ?? ring[0])?.backend ?? { address: "::", port: 0 };
    return { backend, other: backend, first: 1 };
  });
}

export function slotsOf(service: Service, backends: readonly Backend[]): Slot[] {
  return service.affinity === "container" ? slotsByAffinity(backends) : slotsByWeight(backends);
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

/** Bits of enum policy_flags. */
export function serviceFlagsOf(policy?: ServicesPolicy): number {
  return policy ? flags.POLICY_SERVICES : 0;
}

/** Set whose services a container knows. */
export function serviceSet(policy: ServicesPolicy, cgroupId: bigint): bigint {
  return policy.own ? cgroupId : SHARED_SET;
}

/** Fields of struct policy. */
export function serviceFields(policy: ServicesPolicy | undefined) {
  return { services_own: policy?.own ? 1 : 0 };
}

/** Names of the hooks that the policy needs. */
export function serviceHooks(policy?: ServicesPolicy): string[] {
  if (!policy) return [];
  const both = ["connect", "recvmsg", "getpeername"].flatMap((name) => [`${name}4`, `${name}6`]);
  return [...both, "sock_ops_full"];
}

/** Whether a stored value is a policy for services. */
export function isServices(value: unknown): value is ServicesPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { own } = value as Partial<Record<keyof ServicesPolicy, unknown>>;
  return own === undefined || (Array.isArray(own) && own.every((each: unknown) => isService(each)));
}

function isService(value: unknown): value is Service {
  if (typeof value !== "object" || value === null) return false;
  const { address, port, protocol, backends } = value as Partial<Record<keyof Service, unknown>>;
  return (
    typeof address === "string" &&
    typeof port === "number" &&
    ENDPOINT_PROTOCOLS.includes(protocol as EndpointProtocol) &&
    Array.isArray(backends)
  );
}

/**
 * What is wrong with a service by itself; undefined: nothing.
 * @param all that there are: a backend that is itself a virtual address would be a loop
 */
export function serviceProblem(service: Service, all: readonly Service[]): string | undefined {
  const vip = parseAddress(service.address);
  const what = `virtual address ${formatEnd(service)}`;
  if (!vip) return `${what}: ${JSON.stringify(service.address.slice(0, 60))} is no address`;
  if (isNoHost(vip)) return `${what}: it is no address of one host`;
  if (!isPort(service.port)) return `${what}: its port is not 1 to 65535`;
  if (service.backends.length > MAX_BACKENDS)
    return `${what}: it has ${service.backends.length} backends, more than ${MAX_BACKENDS}`;
  const seen = new Set<string>();
  const vips = new Set(all.filter(({ protocol }) => protocol === service.protocol).map(placeOfEnd));
  for (const backend of service.backends) {
    const why = backendProblem(backend, vip, vips);
    if (why !== undefined) return `${what}: backend ${formatPort(backend)} ${why}`;
    if (seen.has(placeOfEnd(backend))) return `${what}: backend ${formatPort(backend)} is there twice`;
    seen.add(placeOfEnd(backend));
  }
  return undefined;
}

/** One text for every way to write the same address. */
export function placeOfEnd({ address, port }: Pick<Backend, "address" | "port">): string {
  const bytes = parseAddress(address);
  return formatPort({ address: bytes ? formatAddress(bytes) : address, port });
}

/** 0.0.0.0, ::, multicast and broadcast. */
function isNoHost(bytes: Uint8Array): boolean {
  const v4 = isIpv4Bytes(bytes);
  const host = v4 ? bytes.subarray(12) : bytes;
  const first = host[0] ?? 0;
  return host.every((byte) => byte === 0) || (v4 ? first >= 224 : first === 0xff);
}

export function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 1 && port <= 65535;
}

/** @param vips texts of all virtual addresses of its protocol */
export function backendProblem(
  { address, port, weight = 1 }: Backend,
  vip: Uint8Array,
  vips: { has: (place: string) => boolean },
): string | undefined {
  const bytes = parseAddress(address);
  if (!bytes) return "is no address";
  if (isNoHost(bytes)) return "is no address of one host";
  if (isIpv4Bytes(bytes) !== isIpv4Bytes(vip)) return "is not of the same family (IPv4 or IPv6)";
  if (!isPort(port)) return "has no port of 1 to 65535";
  if (!Number.isInteger(weight) || weight < 1 || weight > MAX_WEIGHT)
    return `has no weight of 1 to ${MAX_WEIGHT}`;
  if (vips.has(placeOfEnd({ address, port }))) return "is a virtual address itself";
  return undefined;
}

/** "10.0.0.1:80", "[fd00::1]:80". @returns undefined where it is neither */
export function parsePort(text: string): { address: string; port: number } | undefined {
  const [, v6, v4, port] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const bytes = parseAddress(v6 ?? v4 ?? "");
  return bytes && port !== undefined ? { address: formatAddress(bytes), port: Number(port) } : undefined;
}

const OPTION_VALUES = {
  choice: SERVICE_CHOICES,
  affinity: SERVICE_AFFINITIES,
  peer: SERVICE_PEERS,
  no_backend: NO_BACKEND_ACTIONS,
  prefer: ["local"],
} as const;

function badOption(text: string, why: string): IsolatorError {
  return new IsolatorError(
    "bad-argument",
    `--vip ${JSON.stringify(text.slice(0, 200))}: ${why}. ` +
      "Give one such as 10.77.0.1:80=10.0.0.1:31000,10.0.0.2:31001*3 or 10.77.0.1:53/udp=10.0.0.1:53;peer=vip",
  );
}

function parseOptions(text: string, parts: readonly string[]): ServiceOptions {
  const found = new Map<string, string>();
  for (const part of parts) {
    const [key = "", value = ""] = part.split("=");
    const known = (OPTION_VALUES as Readonly<Record<string, readonly string[]>>)[key];
    if (!known) throw badOption(text, `there is no option ${JSON.stringify(key)}`);
    if (!known.includes(value)) throw badOption(text, `${key} is ${known.join(" or ")}`);
    found.set(key, value);
  }
  const choice = SERVICE_CHOICES.find((value) => value === found.get("choice"));
  const affinity = SERVICE_AFFINITIES.find((value) => value === found.get("affinity"));
  const peer = SERVICE_PEERS.find((value) => value === found.get("peer"));
  const noBackend = NO_BACKEND_ACTIONS.find((value) => value === found.get("no_backend"));
  return {
    ...(choice === undefined ? {} : { choice }),
    ...(affinity === undefined ? {} : { affinity }),
    ...(peer === undefined ? {} : { peer }),
    ...(noBackend === undefined ? {} : { noBackend }),
    ...(found.has("prefer") ? { preferLocal: true } : {}),
  };
}

/**
 * Value of --vip: "10.77.0.1:80=10.0.0.1:31000,10.0.0.2:31001*3;choice=least_connections"; no backend at all is one
 * that has none yet.
 * @throws bad-argument
 */
export function parseVipOption(text: string): Service {
  const [head = "", ...options] = text.split(";");
  const [vip = "", list] = head.split("=");
  if (list === undefined) throw badOption(text, "there is no =");
  const [place = "", protocol = "tcp"] = vip.split("/");
  const at = parsePort(place);
  if (!at) throw badOption(text, `${JSON.stringify(place)} is no address with a port`);
  if (!ENDPOINT_PROTOCOLS.includes(protocol as EndpointProtocol))
    throw badOption(text, `the protocol is ${ENDPOINT_PROTOCOLS.join(" or ")}`);
  const backends = list
    .split(",")
    .filter((part) => part !== "")
    .map((part): Backend => {
      const [end = "", weight] = part.split("*");
      const backend = parsePort(end);
      if (!backend) throw badOption(text, `${JSON.stringify(end)} is no address with a port`);
      return { ...backend, ...(weight === undefined ? {} : { weight: Number(weight) }) };
    });
  return { ...at, protocol: protocol as EndpointProtocol, backends, ...parseOptions(text, options) };
}

/** All of --vip. @throws bad-argument */
export function parseVipOptions(texts: readonly string[]): Service[] {
  const services = texts.map(parseVipOption);
  const seen = new Set<string>();
  services.forEach((service, i) => {
    const problem = serviceProblem(service, services);
    if (problem !== undefined) throw badOption(texts[i] ?? "", problem);
    if (seen.has(formatEnd(service))) throw badOption(texts[i] ?? "", `${formatEnd(service)} is given twice`);
    seen.add(formatEnd(service));
  });
  return services;
}
