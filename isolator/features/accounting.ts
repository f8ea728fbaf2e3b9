/**
 * Accounting: what a container sent, received and was refused. The kernel's side is bpf/accounting.h; README.md,
 * "Traffic", is the user's.
 */
import { decode, type Struct } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";

export type KernelCounters = Struct<typeof layouts.structs.counters>;

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

function byReason(values: readonly bigint[]): Record<Reason, bigint> {
  return Object.fromEntries(REASONS.map((reason, i) => [reason, values[i] ?? 0n])) as Record<Reason, bigint>;
}

/** Adds up the values of all CPUs. */
export function sumCounters(perCpu: readonly Uint8Array[]): Usage {
  const values = perCpu.map((bytes) => decode(layouts.structs.counters, bytes));
  const sum = (pick: (value: KernelCounters) => bigint): bigint =>
    values.reduce((total, v) => total + pick(v), 0n);
  const sumEach = (pick: (value: KernelCounters) => bigint[]): bigint[] =>
    REASONS.map((_, i) => sum((value) => pick(value)[i] ?? 0n));
  return {
    rxPackets: sum((v) => v.rx_packets),
    rxBytes: sum((v) => v.rx_bytes),
    rxDropped: sum((v) => v.rx_dropped),
    txPackets: sum((v) => v.tx_packets),
    txBytes: sum((v) => v.tx_bytes),
    txDropped: sum((v) => v.tx_dropped),
    denied: byReason(sumEach((v) => v.denied)),
    audited: byReason(sumEach((v) => v.audited)),
    eventsLost: sum((v) => v.events_lost),
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
