/**
 * Bandwidth: what a container may send and receive in a second. The kernel's side is bpf/bandwidth.h; README.md,
 * "Bandwidth", is the user's.
 */
import { IsolatorError } from "../errors.js";
import { decode, encode } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";

export const FULL_MODES = ["drop", "eperm", "eagain"] as const;
/**
 * What becomes of a datagram for which there is no room. drop: as with a full queue, the send succeeds, or is ENOBUFS with
 * IP_RECVERR. eperm: EPERM. eagain: as drop, but sendmsg() of an unconnected socket is EAGAIN.
 */
export type FullMode = (typeof FULL_MODES)[number];

/** One direction. */
export interface Rate {
  /** Bytes/s, IP headers included. */
  rate: number;
  /**
   * Bytes that may be sent at once after a pause; undefined: what 20 ms take, 64 KiB at least, and received what 100 ms
   * take, 128 KiB at least.
   */
  burst?: number;
}

/** Undefined is no limit. */
export interface BandwidthPolicy {
  egress?: Rate;
  ingress?: Rate;
  /** Share of the host's budget; undefined: not under it. */
  weight?: number;
  /** Undefined: drop. */
  onFull?: FullMode;
  /** Whether what goes through the loopback device counts. */
  loopback?: true;
  /** Departure times where the device has sch_fq, instead of pacing. */
  departures?: true;
  /** What the agent said last, which this was made of: a daemon that starts again knows it by this. */
  asked?: { resource?: number; cpus?: number };
}

/** A budget of the host for all containers that have a weight. */
export interface HostBandwidth {
  egress?: Rate;
  ingress?: Rate;
}

/** Bytes/s; slower ones cannot carry a connection. 8 kbit/s. */
export const MIN_RATE = 1000;
/** Bytes/s: 1 Tbit/s, far below where the arithmetic of the programs ends. */
export const MAX_RATE = 125_000_000_000;
/** A packet of an Ethernet. */
export const MIN_BURST = 1500;
export const MAX_BURST = 0xffffffff;
export const MAX_WEIGHT = 10_000;

const RATE_UNITS: Readonly<Record<string, number>> = {
  bit: 1 / 8,
  kbit: 1e3 / 8,
  mbit: 1e6 / 8,
  gbit: 1e9 / 8,
  bps: 1,
  kbps: 1e3,
  mbps: 1e6,
  gbps: 1e9,
};
const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  kib: 1024,
  mib: 1024 * 1024,
};
const NUMBER = /^(\d{1,20}(?:\.\d{1,9})?)([A-Za-z/]*)$/;

function bad(what: string, text: string, why: string): IsolatorError {
  const shown = text.length > 40 ? `${text.slice(0, 40)}...` : text;
  return new IsolatorError("bad-argument", `bad ${what} ${JSON.stringify(shown)}: ${why}`);
}

const RATE_HELP = "give a number and a unit, as in 100Mbit (bits a second) or 12.5MB/s (bytes a second)";

function unitOf(text: string): number | undefined {
  const word = text.toLowerCase();
  const bytes = /^([kmg]?)b\/s$/.exec(word);
  return RATE_UNITS[bytes ? `${bytes[1] ?? ""}bps` : word.replace(/\/s$/, "")];
}

/** @returns bytes/s, any @throws bad-argument */
function readRate(text: string): number {
  const [, number = "", unit = ""] = NUMBER.exec(text) ?? [];
  if (number === "" || unit === "") throw bad("rate", text, RATE_HELP);
  // kbps is kilobytes to tc and kilobits to most people.
  if (/bps$/i.test(unit))
    throw bad("rate", text, `${unit} means bits to some and bytes to others: ${RATE_HELP}`);
  const factor = unitOf(unit);
  if (factor === undefined) throw bad("rate", text, `there is no unit ${unit}: ${RATE_HELP}`);
  return Number(number) * factor;
}

/** Parses "100Mbit", "12.5MB/s", "10Gbit/s". @returns bytes/s @throws bad-argument */
export function parseRate(text: string): number {
  return checkRate(readRate(text), text);
}

/** Parses what one of a resource is, as "1bit": so little is no limit by itself. @returns bytes/s @throws bad-argument */
export function parseUnit(text: string): number {
  const unit = readRate(text);
  if (!(unit > 0)) throw bad("rate", text, "a unit is more than 0");
  if (unit > MAX_RATE) throw bad("rate", text, `give at most ${formatRate(MAX_RATE)}`);
  return unit;
}

/** @param rate bytes/s @param text for the error @returns a whole number @throws bad-argument */
function checkRate(rate: number, text: string): number {
  if (!(rate >= MIN_RATE)) throw bad("rate", text, `give at least ${formatRate(MIN_RATE)}`);
  if (rate > MAX_RATE) throw bad("rate", text, `give at most ${formatRate(MAX_RATE)}`);
  return Math.round(rate);
}

/** Parses "64KiB", "100KB", "65536". @returns bytes @throws bad-argument */
export function parseBurst(text: string): number {
  const [, number = "", unit = ""] = NUMBER.exec(text) ?? [];
  const factor = SIZE_UNITS[unit === "" ? "b" : unit.toLowerCase()];
  if (number === "" || factor === undefined)
    throw bad("burst", text, "give a number of bytes, as in 64KiB, 100KB or 65536");
  const bytes = Math.round(Number(number) * factor);
  if (bytes < MIN_BURST)
    throw bad(
      "burst",
      text,
      `it is below a packet, which would never pass: give at least ${MIN_BURST} bytes`,
    );
  if (bytes > MAX_BURST) throw bad("burst", text, `give at most ${MAX_BURST} bytes`);
  return bytes;
}

/** "100Mbit" of 12500000. */
export function formatRate(rate: number): string {
  const bits = rate * 8;
  const [unit, factor] =
    bits >= 1e9 ? ["Gbit", 1e9] : bits >= 1e6 ? ["Mbit", 1e6] : bits >= 1e3 ? ["kbit", 1e3] : ["bit", 1];
  return `${Number((bits / factor).toPrecision(4))}${unit}`;
}

/** "egress 100Mbit, ingress 1Gbit, weight 10"; "none". */
export function formatBandwidth({ egress, ingress, weight }: BandwidthPolicy = {}): string {
  const parts = [
    ...(egress ? [`egress ${formatRate(egress.rate)}`] : []),
    ...(ingress ? [`ingress ${formatRate(ingress.rate)}`] : []),
    ...(weight === undefined ? [] : [`weight ${weight}`]),
  ];
  return parts.length > 0 ? parts.join(", ") : "none";
}

const { policy_flags, bandwidth_flags: flags } = layouts.enums;

/** Bits of enum policy_flags. */
export function bandwidthFlags(policy?: BandwidthPolicy): number {
  return policy ? policy_flags.POLICY_BANDWIDTH : 0;
}

/** Names of the hooks that the policy needs. */
export function bandwidthHooks(policy?: BandwidthPolicy): string[] {
  if (!policy) return [];
  return [
    ...["bandwidth_tcp", "bandwidth_in", "bandwidth_out"],
    ...(policy.onFull === "eagain" ? ["bandwidth_send4", "bandwidth_send6"] : []),
  ];
}

/**
 * Value of the map bandwidth_rules.
 * @param audit count what is over the limit, hold nothing back
 */
export function encodeBandwidth(policy: BandwidthPolicy, audit: boolean): Uint8Array {
  const { egress, ingress, weight = 0, onFull, loopback, departures } = policy;
  const whole = (value = 0): bigint => BigInt(value);
  const bits = [
    loopback ? flags.BANDWIDTH_LOOPBACK : 0,
    onFull === "eperm" ? flags.BANDWIDTH_EPERM : 0,
    onFull === "eagain" ? flags.BANDWIDTH_EAGAIN : 0,
    audit ? flags.BANDWIDTH_AUDIT : 0,
    departures ? flags.BANDWIDTH_EDT : 0,
  ];
  return encode(layouts.structs.bandwidth_rule, {
    rate: [whole(egress?.rate), whole(ingress?.rate)],
    burst: [whole(egress?.burst), whole(ingress?.burst)],
    weight,
    flags: bits.reduce((all, bit) => all | bit, 0),
  });
}

/** One direction of a container, as the programs have it. Counts since its limit was set up. */
export interface BandwidthUse {
  /** In force: bytes/s, also where it is a share of the host's budget; 0: none. */
  rate: number;
  /** Bytes/s in the last few ms; 0: nothing lately. */
  measured: number;
  /** ms in which all of the rate was used. */
  throttled: number;
  packets: bigint;
  bytes: bigint;
  /** Packets and bytes over the limit. */
  droppedPackets: bigint;
  droppedBytes: bigint;
  /** Packets that were marked by ECN. */
  marked: bigint;
  /** Connections that no callback comes from, each time one was met. */
  unarmed: bigint;
}

export interface BandwidthUsage {
  egress: BandwidthUse;
  ingress: BandwidthUse;
}

/** What was measured longer ago says nothing of now. ns */
const FRESH = 1_000_000_000n;

function useOf(bytes: Uint8Array, now: bigint): BandwidthUse {
  const state = decode(layouts.structs.bandwidth_state, bytes);
  return {
    rate: Number(state.rate),
    measured: now - state.measured_at < FRESH ? Number(state.measured) : 0,
    throttled: Number(state.throttled / 1_000_000n),
    packets: state.passed_packets,
    bytes: state.passed_bytes,
    droppedPackets: state.dropped_packets,
    droppedBytes: state.dropped_bytes,
    marked: state.marked,
    unarmed: state.unarmed,
  };
}

/** @param bytes value of the map bandwidths */
export function decodeBandwidth(bytes: Uint8Array): BandwidthUsage {
  const now = process.hrtime.bigint();
  const { size } = layouts.structs.bandwidth_state;
  return { egress: useOf(bytes, now), ingress: useOf(bytes.subarray(size), now) };
}

/** One entry of Mesos's net_traffic_control_statistics, with the ids that network/port_mapping gives them. */
function trafficControl(id: string, use: BandwidthUse) {
  return {
    id,
    bytes: use.bytes,
    packets: use.packets,
    drops: use.droppedPackets,
    overlimits: use.droppedPackets + use.marked,
    ratebps: BigInt(use.measured),
  };
}

/** Fields of Mesos's ResourceStatistics; of a container that is not limited none. */
export function bandwidthStatistics(policy: BandwidthPolicy | undefined, usage: BandwidthUsage | undefined) {
  if (!policy || !usage) return {};
  const { egress, ingress } = usage;
  const limited = [...(egress.rate > 0 ? [egress] : []), ...(ingress.rate > 0 ? [ingress] : [])];
  return {
    ...(egress.rate > 0 ? { net_tx_rate_limit: BigInt(egress.rate) } : {}),
    ...(ingress.rate > 0 ? { net_rx_rate_limit: BigInt(ingress.rate) } : {}),
    ...(policy.egress?.burst === undefined ? {} : { net_tx_burst_size: BigInt(policy.egress.burst) }),
    ...(policy.ingress?.burst === undefined ? {} : { net_rx_burst_size: BigInt(policy.ingress.burst) }),
    net_traffic_control_statistics: limited.map((use) =>
      trafficControl(use === egress ? "bw_limit" : "ingress_bw_limit", use),
    ),
  };
}

function isRate(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { rate, burst } = value as Partial<Record<keyof Rate, unknown>>;
  const within = (number: unknown, least: number, most: number): boolean =>
    Number.isInteger(number) && (number as number) >= least && (number as number) <= most;
  return within(rate, MIN_RATE, MAX_RATE) && (burst === undefined || within(burst, MIN_BURST, MAX_BURST));
}

/** Whether a value that was stored is a policy for bandwidth. */
export function isBandwidth(value: unknown): value is BandwidthPolicy {
  if (typeof value !== "object" || value === null) return false;
  const { egress, ingress, weight, onFull } = value as Partial<Record<keyof BandwidthPolicy, unknown>>;
  return (
    (egress === undefined || isRate(egress)) &&
    (ingress === undefined || isRate(ingress)) &&
    (weight === undefined || (Number.isInteger(weight) && (weight as number) >= 1)) &&
    (onFull === undefined || FULL_MODES.includes(onFull as FullMode))
  );
}
