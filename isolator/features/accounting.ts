/**
 * Accounting: what a container sent, received and was refused. The kernel's side is bpf/accounting.h; README.md,
 * "Traffic", is the user's.
 */
import type { Field, Layout } from "../kernel/btf.js";
import { LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";

type CounterName = keyof typeof layouts.structs.counters.fields;

/** Why something was refused or reported: names of enum reason in bpf/layout.h, in its order. */
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
  denied: Record<Reason, bigint>;
  /** What audit mode let through and would have been refused, by reason. */
  audited: Record<Reason, bigint>;
  /** Events that nobody could be told of, since their ring was full. */
  eventsLost: bigint;
}

/** Usage as JSON has it: every count a decimal string, since JSON's numbers end at 2^53. */
export type SavedUsage = Record<string, string | Record<string, string>>;

const TOTALS = [
  "rxPackets",
  "rxBytes",
  "rxDropped",
  "txPackets",
  "txBytes",
  "txDropped",
  "eventsLost",
] as const;
type Total = (typeof TOTALS)[number];

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

/**
 * Adds up the values of all CPUs. Every field is a u64, so whole values are added word by word: a daemon does it for a
 * thousand containers at a time.
 * @param layout of another build's counters: fields that it does not have count 0
 */
export function sumCounters(perCpu: readonly Uint8Array[], layout: Layout = layouts.structs.counters): Usage {
  const words = layout.size / 8;
  const sums = new BigUint64Array(words);
  for (const bytes of perCpu) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, layout.size);
    for (let i = 0; i < words; i++) {
      // Most are 0, and adding up bigints takes long.
      if (view.getUint32(8 * i) === 0 && view.getUint32(8 * i + 4) === 0) continue;
      sums[i] = (sums[i] ?? 0n) + view.getBigUint64(8 * i, LITTLE);
    }
  }
  const fields: Readonly<Record<string, Field>> = layout.fields;
  const at = (name: CounterName, index = 0): bigint => {
    const field = fields[name];
    return field && index < (field.count ?? 1) ? (sums[field.offset / 8 + index] ?? 0n) : 0n;
  };
  return {
    rxPackets: at("rx_packets"),
    rxBytes: at("rx_bytes"),
    rxDropped: at("rx_dropped"),
    txPackets: at("tx_packets"),
    txBytes: at("tx_bytes"),
    txDropped: at("tx_dropped"),
    denied: byReason(REASONS.map((_, i) => at("denied", i))),
    audited: byReason(REASONS.map((_, i) => at("audited", i))),
    eventsLost: at("events_lost"),
  };
}

/** What was refused in all: everything but what can only be reported. */
export function totalDenied(counts: Record<Reason, bigint>): bigint {
  return REASONS.filter((reason) => reason !== "source_port").reduce(
    (total, reason) => total + counts[reason],
    0n,
  );
}

/**
 * Mesos's ResourceStatistics fields (include/mesos/mesos.proto) in its JSON form, where uint64 is a number; what
 * Mesos has no field for is under `bpf_isolator`.
 * @param timestamp seconds since the epoch
 */
export function toResourceStatistics(usage: Usage, timestamp: number): Record<string, unknown> {
  const counts = (values: Record<Reason, bigint>): Record<string, number> =>
    Object.fromEntries(REASONS.map((reason) => [reason, Number(values[reason])]));
  return {
    timestamp,
    net_rx_packets: Number(usage.rxPackets),
    net_rx_bytes: Number(usage.rxBytes),
    net_rx_dropped: Number(usage.rxDropped),
    net_tx_packets: Number(usage.txPackets),
    net_tx_bytes: Number(usage.txBytes),
    net_tx_dropped: Number(usage.txDropped),
    bpf_isolator: {
      denied: counts(usage.denied),
      audited: counts(usage.audited),
      events_lost: Number(usage.eventsLost),
    },
  };
}
