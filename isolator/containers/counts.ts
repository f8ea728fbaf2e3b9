/** What is counted of one container, and after its end the last of it. */
import { sumCounters, sumSome, type Usage } from "../features/accounting.js";
import { bandwidthStatistics, type BandwidthUsage } from "../features/bandwidth.js";
import type { HeldConnections, HeldDestination } from "../features/connections.js";
import type { EgressHits } from "../features/egress.js";
import { Rates, type RateOptions } from "../features/rates.js";
import type { ContainerStatistics, SocketCounts } from "../features/statistics.js";
import { readBandwidth } from "./bandwidth.js";
import { readConnections, readDestinations } from "./connections.js";
import type { ContainerState } from "./container-state.js";
import { readHits } from "./egress.js";
import { totalUsage } from "./record.js";

export class Counts {
  /** Its last counts: its node is gone, or about to go. */
  private last: { statistics: ContainerStatistics; bandwidth: BandwidthUsage | undefined } | undefined;
  private rates: Rates | undefined;
  /** Whether file_counts may have something of it; undefined: to be looked up. */
  private countsFiles: boolean | undefined;

  constructor(private readonly state: ContainerState) {}

  /** Counts so far; after the container's end the last ones. */
  usage(): Usage {
    if (this.last) return this.last.statistics.usage;
    const { programs, key, record } = this.state;
    const counters = programs.map("counters");
    const ofFiles = this.countsFiles === false ? undefined : programs.map("file_counts").lookup(key);
    // What was counted under another policy stays.
    this.countsFiles ??= ofFiles !== undefined || record.policy.files !== undefined;
    const now = sumCounters([...(counters.lookupPerCpu(key) ?? []), ...(ofFiles ? [ofFiles] : [])]);
    return totalUsage(record, counters.id, now);
  }

  /** A part of usage(), in a tenth of the time. */
  ofSockets(): SocketCounts {
    const { programs, key, record } = this.state;
    // Carried over from another layout of the counters: rare.
    if (this.last || record.carried) return this.usage();
    const values = programs.map("counters").lookupPerCpu(key) ?? [];
    return sumSome(values, ["tcpTimewaits", "tcpTimewaitsLost", "tcpInSegs", "tcpOutSegs"]);
  }

  /** All that is known of its traffic so far; after the container's end the last of it. */
  statistics(): ContainerStatistics {
    if (this.last) return this.last.statistics;
    const { instance, cgroupId, policy } = this.state;
    const usage = this.usage();
    const sockets = policy.ownNetwork ? undefined : instance.sockets.numbersOf(cgroupId, usage);
    return {
      usage,
      ...(sockets ? { sockets } : {}),
      ...(this.rates ? { rates: this.rates.read() } : {}),
      // Of limiters of its traffic: net_traffic_control_statistics, one entry each with an `id` of its own, and the limits.
      more: bandwidthStatistics(policy.bandwidth, this.bandwidth()),
    };
  }

  /** Takes a sample for the rates of its traffic. @param time seconds, of a clock that only goes forward */
  sampleRates(options: RateOptions, time: number): void {
    if (JSON.stringify(this.rates?.options) !== JSON.stringify(options)) this.rates = new Rates(options);
    this.rates?.add(this.usage(), time);
  }

  /** Rates are not sampled any more. */
  forgetRates(): void {
    this.rates = undefined;
  }

  /** Connections that it holds; undefined: they are not counted. */
  connections(): HeldConnections | undefined {
    const { policy, programs, cgroupId } = this.state;
    return policy.connections && readConnections(programs.map("connect_totals"), cgroupId);
  }

  /** Where they go, most first. Takes milliseconds. */
  destinations(): HeldDestination[] {
    const { policy, programs, cgroupId } = this.state;
    if (!policy.connections) return [];
    return readDestinations(programs.map("connect_sets")).filter((each) => each.cgroupId === cgroupId);
  }

  /** What it uses of its bandwidth; after the container's end the last of it. Undefined: it is not limited. */
  bandwidth(): BandwidthUsage | undefined {
    if (this.last) return this.last.bandwidth;
    const { policy, programs, cgroupId } = this.state;
    return policy.bandwidth && readBandwidth(programs, cgroupId);
  }

  /** What each rule of egress has refused and reported. */
  egressHits(): EgressHits[] {
    const { policy, programs, cgroupId } = this.state;
    return policy.egress ? readHits(programs, cgroupId, policy.egress) : [];
  }

  /** Another policy may count what was not counted before. */
  policyChanged(): void {
    this.countsFiles = undefined;
  }

  /** Takes the last counts: what is told from now on. */
  close(): void {
    this.last ??= { statistics: this.statistics(), bandwidth: this.bandwidth() };
  }

  /** It goes on after all. */
  reopen(): void {
    this.last = undefined;
  }

  get closed(): boolean {
    return this.last !== undefined;
  }
}
