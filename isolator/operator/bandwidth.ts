/** Bandwidth in /metrics: what containers with a limit, and the host's budget, use of it. */
import { Counter, Gauge, type Registry } from "prom-client";
import type { BandwidthUsage, BandwidthUse } from "../features/bandwidth.js";

const SIDES = ["egress", "ingress"] as const;
type Read = (use: BandwidthUse) => bigint | number;

const GAUGES: Readonly<Record<string, readonly [help: string, read: Read]>> = {
  limit_bytes_per_second: [
    "Bandwidth in force; with a share of the host's budget, the share.",
    (use) => use.rate,
  ],
  used_bytes_per_second: ["Bandwidth used in the last few ms.", (use) => use.measured],
};

const COUNTERS: typeof GAUGES = {
  throttled_seconds_total: ["Time in which all of the bandwidth was used.", (use) => use.throttled / 1000],
  dropped_packets_total: ["Packets over the bandwidth.", (use) => use.droppedPackets],
  dropped_bytes_total: ["Bytes over the bandwidth.", (use) => use.droppedBytes],
  marked_packets_total: ["Packets that ECN's mark was set in.", (use) => use.marked],
};

/** A set of metrics for those whose names have this prefix and these labels. */
export class BandwidthMetrics {
  private readonly gauges: (readonly [Gauge, Read])[];
  private readonly counters: (readonly [Counter, Read])[];

  constructor(registry: Registry, prefix: string, labels: readonly string[]) {
    const shared = { labelNames: [...labels, "direction"], registers: [registry] };
    const make = <T>(
      all: typeof GAUGES,
      type: new (options: typeof shared & { name: string; help: string }) => T,
    ) =>
      Object.entries(all).map(
        ([name, [help, read]]) =>
          [new type({ name: `${prefix}bandwidth_${name}`, help, ...shared }), read] as const,
      );
    this.gauges = make(GAUGES, Gauge<string>);
    this.counters = make(COUNTERS, Counter<string>);
  }

  reset(): void {
    for (const [metric] of [...this.gauges, ...this.counters]) metric.reset();
  }

  /** @param usage undefined: there is no limit */
  add(labels: Readonly<Record<string, string>>, usage: BandwidthUsage | undefined): void {
    for (const direction of SIDES) {
      const use = usage?.[direction];
      if (!use || use.rate === 0) continue;
      for (const [gauge, read] of this.gauges) gauge.set({ ...labels, direction }, Number(read(use)));
      for (const [counter, read] of this.counters) counter.inc({ ...labels, direction }, Number(read(use)));
    }
  }
}
