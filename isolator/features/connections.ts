/**
 * Connections: how many a container may hold, to each destination and in all. The kernel's side is bpf/connections.h;
 * README.md, "Connections", is the user's.
 */
import { constants } from "node:os";
import { IsolatorError } from "../errors.js";
import { decode, encode, LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { formatAddress, parseCidr } from "./addresses.js";
import { classId, serviceClass } from "./classes.js";
import type { PortRange } from "./ports.js";

/** What connect() may give where a limit refuses it. */
export const CONNECT_ERRNOS = ["EAGAIN", "ECONNREFUSED", "EPERM", "EADDRNOTAVAIL", "EHOSTUNREACH"] as const;
export type ConnectErrno = (typeof CONNECT_ERRNOS)[number];

export const CONNECT_PROTOCOLS = ["tcp", "udp"] as const;
export type ConnectProtocol = (typeof CONNECT_PROTOCOLS)[number];

/** Destinations: all that is given must hold; nothing given is every destination. */
export interface Destinations {
  /** "10.0.0.0/8", "fd00::/8", or one address. */
  cidr?: string;
  ports?: PortRange[];
  protocol?: ConnectProtocol;
  /** Name of the service by which they are reached: "/web". */
  service?: string;
}

export interface ConnectionRule {
  to: Destinations;
  /** To each of them; "none": not counted, and so under no limit in all either. */
  limit: number | "none";
}

export interface ConnectionsPolicy {
  /** To each destination that no rule names; undefined: no limit. */
  max?: number;
  /** To all destinations together; undefined: no limit. */
  total?: number;
  /** Ports that the kernel has chosen; undefined: not counted. */
  ports?: number;
  /** Undefined: EAGAIN. */
  errno?: ConnectErrno;
  /** The first that fits a destination holds. */
  rules?: ConnectionRule[];
  /** No more to a destination than the host's view leaves it (containers/host-share.ts). */
  fair?: boolean;
}

const { connection_sizes: sizes, connection_total: totals, policy_flags: flags } = layouts.enums;

/** A limit above this is none: no host has as many sockets. */
export const MAX_LIMIT = 0x7fffffff;
/** Kernel's rules of a container: each port range of a rule takes one. */
export const MAX_RULES = sizes.CONNECTION_RULES;

const ANY_PORT: PortRange = { begin: 0, end: 65535 };
const PROTOCOL_NUMBERS: Record<ConnectProtocol, number> = { tcp: 6, udp: 17 };
const PROTOCOL_NAMES: Record<number, string> = { 6: "tcp", 17: "udp", 136: "udplite" };

function rangesOf({ to }: ConnectionRule): PortRange[] {
  return to.ports ?? [ANY_PORT];
}

/** How many of the kernel's rules they take. */
export function countRules(rules: readonly ConnectionRule[]): number {
  return rules.reduce((sum, rule) => sum + rangesOf(rule).length, 0);
}

/** Bits of enum policy_flags. */
export function connectionFlags(policy?: ConnectionsPolicy): number {
  if (!policy) return 0;
  return (
    flags.POLICY_COUNT_CONNECTIONS |
    (policy.ports === undefined ? 0 : flags.POLICY_COUNT_PORTS) |
    (policy.fair ? flags.POLICY_FAIR : 0)
  );
}

/** Fields of struct policy. */
export function connectionFields(policy: ConnectionsPolicy = {}) {
  const { max = 0, total = 0, errno = "EAGAIN", rules = [] } = policy;
  return {
    max_connections: max,
    max_connections_total: total,
    connections_errno: constants.errno[errno],
    connection_rules: countRules(rules),
  };
}

/**
 * Value of the map connect_rules.
 * @throws bad-argument where there are too many
 */
export function encodeRules({ rules = [], ports = 0 }: ConnectionsPolicy): Uint8Array {
  const count = countRules(rules);
  if (count > MAX_RULES) {
    throw new IsolatorError(
      "bad-argument",
      `there are ${count} rules for connections, counting each port range: at most ${MAX_RULES} are possible`,
    );
  }
  const layout = layouts.structs.connection_rule;
  // And struct connection_rules' max_ports behind them.
  const value = new Uint8Array(MAX_RULES * layout.size + 8);
  new DataView(value.buffer).setUint32(MAX_RULES * layout.size, ports, LITTLE);
  const encoded = rules.flatMap((rule) => {
    const { address, mask } = parseCidr(rule.to.cidr ?? "::/0");
    return rangesOf(rule).map(({ begin, end }) =>
      encode(layout, {
        ...{ address, mask, begin, end },
        protocol: rule.to.protocol ? PROTOCOL_NUMBERS[rule.to.protocol] : 0,
        protocol_mask: rule.to.protocol ? 0xffff : 0,
        limit: rule.limit === "none" ? 0 : rule.limit,
        service: rule.to.service === undefined ? 0 : classId(serviceClass(rule.to.service)),
      }),
    );
  });
  encoded.forEach((bytes, i) => {
    value.set(bytes, i * layout.size);
  });
  return value;
}

/** "tcp 10.1.2.3:5432" */
export interface HeldDestination {
  cgroupId: bigint;
  protocol: string;
  address: string;
  port: number;
  held: number;
}

/** "tcp 10.1.2.3:5432", "tcp [fd00::1]:443". */
export function formatDestination({
  protocol,
  address,
  port,
}: Pick<HeldDestination, "protocol" | "address" | "port">): string {
  return `${protocol} ${address.includes(":") ? `[${address}]` : address}:${port}`;
}

/** What a container holds. */
export interface HeldConnections {
  /** To all destinations: live ones, and those that are closed and whose port the kernel still keeps. */
  held: number;
  live: number;
  /** Of `held`, to destinations that found no place of their own and share one count. */
  shared: number;
  /** Ports that the kernel has chosen, and sockets to which it may give one unasked: where these are counted. */
  ports: number;
}

const COUNT = layouts.structs.connection_count;

/** The span of now, of CLOCK_MONOTONIC. */
function spanNow(): number {
  return Number(process.hrtime.bigint() >> BigInt(sizes.CONNECTION_SPAN_SHIFT));
}

function heldOf(bytes: Uint8Array, now: number): { live: number; held: number } {
  const { live: word, closed, span, lapsing } = decode(COUNT, bytes);
  const live = word & ~sizes.CONNECTION_CLAIMED;
  let left = closed;
  // What has lapsed since a program looked last.
  for (let at = span + 1; at <= now && at <= span + sizes.CONNECTION_SPANS; at++)
    left -= lapsing[at % sizes.CONNECTION_SPANS] ?? 0;
  return { live, held: live + Math.max(left, 0) };
}

/** @param bytes value of the map connect_totals without its lock */
export function decodeTotals(bytes: Uint8Array): HeldConnections {
  const now = spanNow();
  return {
    ...heldOf(bytes.subarray(totals.IN_ALL * COUNT.size), now),
    shared: heldOf(bytes.subarray(totals.WITHOUT_PLACE * COUNT.size), now).held,
    ports: heldOf(bytes.subarray(totals.PORTS_HELD * COUNT.size), now).held,
  };
}

/** Value of the map connect_totals of a new container, without its lock. */
export function newTotals(cgroupId: bigint): Uint8Array {
  const bytes = new Uint8Array(totals.CONNECTION_TOTALS * COUNT.size);
  new BigUint64Array(bytes.buffer, 0, 1)[0] = cgroupId;
  return bytes;
}

/** @param bytes value of the map connect_sets without its lock */
export function decodeSet(bytes: Uint8Array): HeldDestination[] {
  const now = spanNow();
  return Array.from({ length: sizes.CONNECTION_PLACES }, (_, i) =>
    bytes.subarray(i * COUNT.size, (i + 1) * COUNT.size),
  ).flatMap((place) => {
    // Most are empty, and decoding takes time.
    if (!place.some((byte) => byte !== 0)) return [];
    const { held } = heldOf(place, now);
    if (held === 0) return [];
    const { cgroup_id, address, port, protocol } = decode(COUNT, place);
    return [
      {
        cgroupId: cgroup_id,
        protocol: PROTOCOL_NAMES[protocol] ?? `protocol ${protocol}`,
        address: formatAddress(address),
        port,
        held,
      },
    ];
  });
}

/**
 * A container's next policy: what it holds stays counted until it is given back, under limits or not.
 * @param before its policy so far
 */
export function keepConnections(
  before: ConnectionsPolicy | undefined,
  next: ConnectionsPolicy | undefined,
): ConnectionsPolicy | undefined {
  if (!before) return next;
  const policy = next ?? (before.errno === undefined ? {} : { errno: before.errno });
  return before.ports === undefined || policy.ports !== undefined ? policy : { ...policy, ports: MAX_LIMIT };
}

/** Names of the hooks that the policy needs. */
export function connectionHooks(policy?: ConnectionsPolicy): string[] {
  return policy ? ["connect4", "connect6", "sock_ops_full", "release_full"] : [];
}

/** A destination of the host's view. */
export interface DestinationShare extends Pick<HeldDestination, "protocol" | "address" | "port"> {
  limit: number;
}

/** How many destinations can have a share of their own. */
export const MAX_SHARES = sizes.CONNECTION_SHARES;

/**
 * Value of the map connect_shares.
 * @param other limit to a destination that is not among them
 */
export function encodeShares(other: number, shares: readonly DestinationShare[]): Uint8Array {
  const layout = layouts.structs.connection_share;
  const value = new Uint8Array(8 + MAX_SHARES * layout.size);
  const view = new DataView(value.buffer);
  const some = shares.slice(0, MAX_SHARES);
  view.setUint32(0, other, LITTLE);
  view.setUint32(4, some.length, LITTLE);
  for (const [i, { protocol, address, port, limit }] of some.entries()) {
    const number = Object.entries(PROTOCOL_NAMES).find(([, name]) => name === protocol)?.[0];
    value.set(
      encode(layout, { address: parseCidr(address).address, port, protocol: Number(number ?? 0), limit }),
      8 + i * layout.size,
    );
  }
  return value;
}

/** Whether a stored value is a policy for connections. */
export function isConnections(value: unknown): value is ConnectionsPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { max, total, ports, errno, rules, fair } = value as Partial<
    Record<keyof ConnectionsPolicy, unknown>
  >;
  const isLimit = (limit: unknown): boolean => typeof limit === "number" && limit >= 1 && limit <= MAX_LIMIT;
  return (
    (max === undefined || isLimit(max)) &&
    (total === undefined || isLimit(total)) &&
    (ports === undefined || isLimit(ports)) &&
    (fair === undefined || typeof fair === "boolean") &&
    (errno === undefined || CONNECT_ERRNOS.includes(errno as ConnectErrno)) &&
    (rules === undefined || (Array.isArray(rules) && rules.every(isRule)))
  );
}

function isRule(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { to, limit } = value as Partial<Record<keyof ConnectionRule, unknown>>;
  return typeof to === "object" && to !== null && (limit === "none" || typeof limit === "number");
}
