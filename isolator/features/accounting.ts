/**
 * Accounting: what a container sent, received and was refused. The kernel's side is bpf/accounting.h; README.md,
 * "Traffic", is the user's.
 */
import type { Field, Layout } from "../kernel/btf.js";
import { LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";

type CounterName = keyof typeof layouts.structs.counters.fields;

/** Why something was refused or reported: names of enum reason in bpf/layout/accounting.h, in its order. */
export const REASONS = [
  "bind",
  "bind_zero",
  "chosen_port",
  "sendmsg",
  "listen",
  "protocol",
  "source_port",
  "receive",
  "socket",
  "received",
  "cgroup",
  "clone",
  "mount",
  "bpf",
  "marking",
  "connections",
  "connections_total",
  "egress",
  "file",
  "bandwidth",
  "service",
  "connections_ports",
] as const;
export type Reason = (typeof REASONS)[number];

/** Counts since the container's start. Bytes and packets are the IP layer's, IP headers included. */
export interface Usage {
  rxPackets: bigint;
  rxBytes: bigint;
  /** Packets to sockets that the policy made unreachable; not in rxPackets. */
  rxDropped: bigint;
  txPackets: bigint;
  txBytes: bigint;
  txDropped: bigint;
  /** Refused, by reason; `source_port` is always only reported. */
  denied: Readonly<Record<Reason, bigint>>;
  /** What audit mode let through and would have been refused, by reason. */
  audited: Readonly<Record<Reason, bigint>>;
  /** Events that nobody could be told of, since their ring was full. */
  eventsLost: bigint;
  /** TCP (statistics.ts): connections that the container asked for, and that its listeners got. */
  tcpActiveOpens: bigint;
  tcpPassiveOpens: bigint;
  /** Of both, those that are gone; a timewait socket of theirs may be left. */
  tcpClosed: bigint;
  /** Closed before they were established, and closed by a reset. */
  tcpAttemptFails: bigint;
  tcpEstabResets: bigint;
  /** Times that one came into ESTABLISHED or CLOSE-WAIT, and that one left them. */
  tcpEstablished: bigint;
  tcpLeft: bigint;
  tcpRetransSegs: bigint;
  /** Segments of those that are closed. */
  tcpInSegs: bigint;
  tcpOutSegs: bigint;
  /** Closed into timewait, or FIN-WAIT-2 without a process; of these, not noted by the kernel for want of room. */
  tcpTimewaits: bigint;
  tcpTimewaitsLost: bigint;
}

/** Usage as JSON has it: every count a decimal string, since JSON's numbers end at 2^53. */
export type SavedUsage = Record<string, string | Record<string, string>>;

/** Single counts, and the kernel's names of them. */
const COUNTERS = {
  rxPackets: "rx_packets",
  rxBytes: "rx_bytes",
  rxDropped: "rx_dropped",
  txPackets: "tx_packets",
  txBytes: "tx_bytes",
  txDropped: "tx_dropped",
  eventsLost: "events_lost",
  tcpActiveOpens: "tcp_active_opens",
  tcpPassiveOpens: "tcp_passive_opens",
  tcpClosed: "tcp_closed",
  tcpAttemptFails: "tcp_attempt_fails",
  tcpEstabResets: "tcp_estab_resets",
  tcpEstablished: "tcp_established",
  tcpLeft: "tcp_left",
  tcpRetransSegs: "tcp_retrans_segs",
  tcpInSegs: "tcp_in_segs",
  tcpOutSegs: "tcp_out_segs",
  tcpTimewaits: "tcp_timewaits",
  tcpTimewaitsLost: "tcp_timewaits_lost",
} as const satisfies Record<string, CounterName>;
type Total = keyof typeof COUNTERS;
const TOTALS = Object.keys(COUNTERS) as Total[];

export function saveUsage(usage: Usage): SavedUsage {
  const counts = (values: Record<Reason, bigint>): Record<string, string> =>
    Object.fromEntries(REASONS.map((reason) => [reason, values[reason].toString()]));
  return {
    ...Object.fromEntries(TOTALS.map((name) => [name, usage[name].toString()])),
    denied: counts(usage.denied),
    audited: counts(usage.audited),
  };
}

/** What saveUsage() made; what was saved by a build with fewer counts has 0 for the others. */
export function loadUsage(saved: SavedUsage): Usage {
  const read = (values: SavedUsage[string] | undefined, name: string): bigint =>
    typeof values === "object" ? BigInt(values[name] ?? 0) : 0n;
  const total = (name: string): bigint => {
    const value = saved[name];
    return typeof value === "string" ? BigInt(value) : 0n;
  };
  return {
    ...(Object.fromEntries(TOTALS.map((name) => [name, total(name)])) as Record<Total, bigint>),
    denied: byReason(REASONS.map((reason) => read(saved["denied"], reason))),
    audited: byReason(REASONS.map((reason) => read(saved["audited"], reason))),
  };
}

export function addUsages(a: Usage, b: Usage): Usage {
  const sum = (x: Record<Reason, bigint>, y: Record<Reason, bigint>): Record<Reason, bigint> =>
    byReason(REASONS.map((reason) => x[reason] + y[reason]));
  return {
    ...(Object.fromEntries(TOTALS.map((name) => [name, a[name] + b[name]])) as Record<Total, bigint>),
    denied: sum(a.denied, b.denied),
    audited: sum(a.audited, b.audited),
  };
}

function byReason(values: readonly bigint[]): Record<Reason, bigint> {
  const counts = {} as Record<Reason, bigint>;
  for (const [i, reason] of REASONS.entries()) counts[reason] = values[i] ?? 0n;
  return counts;
}

/** Copied and shared by what is nearly always 0: a daemon works out the usage of a thousand containers at a time. */
const NO_TOTALS = Object.fromEntries(TOTALS.map((name) => [name, 0n])) as Record<Total, bigint>;
const NO_REASONS = Object.freeze(byReason([]));

/**
 * Adds up the values of all CPUs; every field is a u64.
 * @param layout of another build's counters: fields that it does not have count 0
 */
export function sumCounters(perCpu: readonly Uint8Array[], layout: Layout = layouts.structs.counters): Usage {
  const views = perCpu.map((bytes) => new DataView(bytes.buffer, bytes.byteOffset, layout.size));
  const sum = (offset: number): bigint => {
    let total = 0n;
    for (const view of views)
      // Adding up bigints takes long.
      if (view.getUint32(offset) !== 0 || view.getUint32(offset + 4) !== 0)
        total += view.getBigUint64(offset, LITTLE);
    return total;
  };
  const fields: Readonly<Record<string, Field>> = layout.fields;
  const reasons = (name: "denied" | "audited"): Record<Reason, bigint> => {
    const { offset = 0, count = 0 } = fields[name] ?? {};
    let counts: Record<Reason, bigint> | undefined;
    for (let i = 0; i < Math.min(count, REASONS.length); i++) {
      const total = sum(offset + 8 * i);
      if (total > 0n) (counts ??= { ...NO_REASONS })[REASONS[i] ?? "bind"] = total;
    }
    return counts ?? NO_REASONS;
  };
  const usage: Usage = { ...NO_TOTALS, denied: reasons("denied"), audited: reasons("audited") };
  for (const name of TOTALS) {
    const field = fields[COUNTERS[name]];
    const total = field ? sum(field.offset) : 0n;
    if (total > 0n) usage[name] = total;
  }
  return usage;
}

/**
 * A few of the counts, where all would take too long: a daemon reads them of a thousand containers at a time.
 * @param perCpu of this build's layout
 */
export function sumSome<N extends Total>(perCpu: readonly Uint8Array[], names: readonly N[]): Pick<Usage, N> {
  const sums = names.map((name) => {
    const { offset } = layouts.structs.counters.fields[COUNTERS[name]];
    let sum = 0n;
    for (const bytes of perCpu)
      sum += new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(offset, LITTLE);
    return [name, sum];
  });
  return Object.fromEntries(sums) as Pick<Usage, N>;
}

/** What was refused in all: everything but what can only be reported. */
export function totalDenied(counts: Readonly<Record<Reason, bigint>>): bigint {
  return REASONS.filter((reason) => reason !== "source_port").reduce(
    (total, reason) => total + counts[reason],
    0n,
  );
}
