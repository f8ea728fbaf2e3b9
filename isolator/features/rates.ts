/**
 * Rates of a container's traffic in a sliding window, as Mesos 1.12's network/port_mapping samples them
 * (PercentileRatesCollector in src/slave/containerizer/mesos/isolators/network/port_mapping.cpp): the counters are read at
 * each interval, and the window's percentiles are those of what was between two readings.
 */
import type { mesos } from "../mesos/messages.js";
import type { Usage } from "./accounting.js";

/** Seconds. */
export interface RateOptions {
  window: number;
  interval: number;
}

type Series = Exclude<
  keyof mesos.ResourceStatistics.RateStatistics,
  "sampling_window_secs" | "sampling_interval_secs" | "$unknowns"
>;

/** Errors are those of a device, of which a container has none: their rates are 0. */
const SERIES: Readonly<Record<Series, keyof Usage | undefined>> = {
  rx_rate: "rxBytes",
  rx_packet_rate: "rxPackets",
  rx_drop_rate: "rxDropped",
  rx_error_rate: undefined,
  tx_rate: "txBytes",
  tx_packet_rate: "txPackets",
  tx_drop_rate: "txDropped",
  tx_error_rate: undefined,
};
const NAMES = Object.keys(SERIES) as Series[];

/** Linear interpolation between the closest ranks, as process::Statistics does it. @param sorted two values at least */
function percentile(sorted: Float64Array, share: number): bigint {
  const position = share * (sorted.length - 1);
  const index = Math.min(Math.floor(position), sorted.length - 2);
  const [low = 0, high = 0] = sorted.subarray(index, index + 2);
  return BigInt(Math.trunc(low + (high - low) * (position - index)));
}

function percentiles(values: Float64Array): mesos.ResourceStatistics.RatePercentiles {
  const sorted = values.toSorted();
  const at = (share: number): bigint => percentile(sorted, share);
  return {
    ...{ min: at(0), max: at(1), p50: at(0.5), p90: at(0.9), p95: at(0.95), p99: at(0.99) },
    ...{ p999: at(0.999), p9999: at(0.9999) },
    samples: BigInt(sorted.length),
  };
}

/** The samples of one container. */
export class Rates {
  private readonly capacity: number;
  private readonly samples: Readonly<Record<Series, Float64Array>>;
  private count = 0;
  private last: { time: number; usage: Usage } | undefined;
  private told: mesos.ResourceStatistics.RateStatistics | undefined;

  constructor(readonly options: RateOptions) {
    this.capacity = Math.floor(options.window / options.interval);
    this.samples = Object.fromEntries(
      NAMES.map((name) => [name, new Float64Array(SERIES[name] ? this.capacity : 0)]),
    ) as Record<Series, Float64Array>;
  }

  /** @param time seconds, of a clock that only goes forward */
  add(usage: Usage, time: number): void {
    const { last } = this;
    this.last = { time, usage };
    if (!last || time <= last.time) return;
    const place = this.count++ % this.capacity;
    for (const name of NAMES) {
      const counter = SERIES[name];
      if (!counter) continue;
      const moved = Number(usage[counter]) - Number(last.usage[counter]);
      this.samples[name][place] = moved / (time - last.time);
    }
    this.told = undefined;
  }

  /** Percentiles need two samples at least: until then there are none. */
  read(): mesos.ResourceStatistics.RateStatistics {
    return (this.told ??= {
      ...this.percentiles(),
      sampling_window_secs: this.options.window,
      sampling_interval_secs: this.options.interval,
    });
  }

  private percentiles(): Partial<mesos.ResourceStatistics.RateStatistics> {
    const n = Math.min(this.count, this.capacity);
    if (n < 2) return {};
    const none = new Float64Array(n);
    return Object.fromEntries(
      NAMES.map((name) => [name, percentiles(SERIES[name] ? this.samples[name].subarray(0, n) : none)]),
    );
  }
}
