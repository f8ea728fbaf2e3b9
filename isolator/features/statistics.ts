/**
 * Statistics: a container's TCP connections and how long their round trips take. The kernel's side is bpf/statistics.h;
 * README.md, "Statistics", is the user's.
 */
import { LITTLE } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { codecs, type mesos } from "../mesos/messages.js";
import { REASONS, type Reason, type Usage } from "./accounting.js";

/** µs, of the sockets that have measured one. */
export interface RttPercentiles {
  p50: number;
  p90: number;
  p95: number;
  p99: number;
}

/** What a pass over the sockets found of a container, and of what is nested in it. */
export interface SocketTally {
  timewait: number;
  /** Segments of the sockets that live. */
  inSegs: bigint;
  outSegs: bigint;
  /** Undefined: no socket has measured one. */
  rtt?: RttPercentiles;
}

const TALLY = layouts.structs.socket_tally;
const { pass: PASS, timewait: TIMEWAIT, in_segs: IN, out_segs: OUT, rtt: RTT } = TALLY.fields;

/** The smallest value of a bucket of round trip times, µs (rtt_bucket() in bpf/statistics.h). */
function bucketStart(bucket: number): number {
  if (bucket < 32) return bucket;
  const place = Math.floor(bucket / 16) + 3;
  return (16 + (bucket % 16)) * 2 ** (place - 4);
}

/** What stands for all values of a bucket: its middle, at most 3.1 % from each of them. */
function bucketValue(bucket: number): number {
  const start = bucketStart(bucket);
  return start + (bucketStart(bucket + 1) - 1 - start) / 2;
}

/** The nearest rank, as Mesos's network/port_mapping takes it: the value at place n * p / 100 of n sorted ones. */
function percentiles(counts: Uint32Array): RttPercentiles | undefined {
  let total = 0;
  for (const count of counts) total += count;
  if (total === 0) return undefined;
  const [p50 = 0, p90 = 0, p95 = 0, p99 = 0] = [50, 90, 95, 99].map((percent) => {
    let left = Math.floor((total * percent) / 100);
    let bucket = 0;
    while (left >= (counts[bucket] ?? Infinity)) left -= counts[bucket++] ?? 0;
    return bucketValue(bucket);
  });
  return { p50, p90, p95, p99 };
}

/** Of a container that has none. */
export const NO_SOCKETS: SocketTally = { timewait: 0, inSegs: 0n, outSegs: 0n };

/** Value of the map socket_tallies before the first pass. @param parent cgroup id of the container around it, or 0 */
export function newTally(parent: bigint): Uint8Array {
  const bytes = new Uint8Array(TALLY.size);
  new DataView(bytes.buffer).setBigUint64(TALLY.fields.parent.offset, parent, LITTLE);
  return bytes;
}

/**
 * By hand: a daemon reads a thousand at a time.
 * @param bytes value of the map socket_tallies
 * @param pass number of the pass: what an earlier one has left is nothing
 */
export function decodeTally(bytes: Uint8Array, pass: number): SocketTally {
  const view = new DataView(bytes.buffer, bytes.byteOffset, TALLY.size);
  if (view.getUint32(PASS.offset, LITTLE) !== pass) return NO_SOCKETS;
  const rtt = percentiles(new Uint32Array(bytes.buffer, bytes.byteOffset + RTT.offset, RTT.count));
  return {
    timewait: view.getUint32(TIMEWAIT.offset, LITTLE),
    inSegs: view.getBigUint64(IN.offset, LITTLE),
    outSegs: view.getBigUint64(OUT.offset, LITTLE),
    ...(rtt ? { rtt } : {}),
  };
}

/** What is counted of sockets that are closed: a pass adds to it. */
export type SocketCounts = Pick<Usage, "tcpTimewaits" | "tcpTimewaitsLost" | "tcpInSegs" | "tcpOutSegs">;

/** A timewait socket that was not noted is taken for gone after this: twice TCP_TIMEWAIT_LEN of the kernel. ms */
const TIMEWAIT_MOST = 120_000;

/** What the passes have found of a container so far. */
export class SocketFigures {
  private tally = NO_SOCKETS;
  private before: SocketCounts | undefined;
  /** How many were not noted, at the passes of the last while. */
  private lost: { time: number; count: bigint }[] = [];
  private inSegs = 0n;
  private outSegs = 0n;

  /**
   * @param before what was counted when the pass began
   * @param time ms, of a clock that only goes forward
   */
  add(tally: SocketTally, before: SocketCounts, time: number): void {
    this.tally = tally;
    this.before = before;
    this.lost.push({ time, count: before.tcpTimewaitsLost });
    // The newest of those that are too old stays: it says how many there were at that time.
    while ((this.lost[1]?.time ?? Infinity) <= time - TIMEWAIT_MOST) this.lost.shift();
    this.raiseSegments(before.tcpInSegs + tally.inSegs, before.tcpOutSegs + tally.outSegs);
  }

  /**
   * After the first pass of a process: what the one before it told is not known, so nothing may be missing. A socket that
   * was closed during the pass may be in it twice; later passes tell less, if anything, than there is.
   * @param after what is counted when the pass has ended
   */
  addFirst(tally: SocketTally, before: SocketCounts, after: SocketCounts, time: number): void {
    this.add(tally, before, time);
    this.raiseSegments(after.tcpInSegs + tally.inSegs, after.tcpOutSegs + tally.outSegs);
  }

  /** @param now what is counted now */
  read(now: SocketCounts): SocketNumbers | undefined {
    const { before, tally } = this;
    if (!before) return undefined;
    this.raiseSegments(now.tcpInSegs, now.tcpOutSegs);
    const unnoted = before.tcpTimewaitsLost - (this.lost[0]?.count ?? before.tcpTimewaitsLost);
    const since = now.tcpTimewaits - before.tcpTimewaits;
    return {
      timewait: tally.timewait + Number(unnoted + since),
      inSegs: this.inSegs,
      outSegs: this.outSegs,
      ...(tally.rtt ? { rtt: tally.rtt } : {}),
    };
  }

  /** Counters never go back, also where a socket was closed between its being looked at and the end of the pass. */
  private raiseSegments(inSegs: bigint, outSegs: bigint): void {
    if (inSegs > this.inSegs) this.inSegs = inSegs;
    if (outSegs > this.outSegs) this.outSegs = outSegs;
  }
}

/** What is known by passes. */
export interface SocketNumbers {
  /** Sockets in timewait, FIN-WAIT-2 without a process included: exact at a pass, and then never less than there are. */
  timewait: number;
  inSegs: bigint;
  outSegs: bigint;
  rtt?: RttPercentiles;
}

/** TCP connections that there are, at any instant: from the first SYN to the end of the last process's socket. */
export function liveConnections({ tcpActiveOpens, tcpPassiveOpens, tcpClosed }: Usage): number {
  return Math.max(0, Number(tcpActiveOpens + tcpPassiveOpens - tcpClosed));
}

/** Of these, in ESTABLISHED or CLOSE-WAIT. */
export function establishedConnections({ tcpEstablished, tcpLeft }: Usage): number {
  return Math.max(0, Number(tcpEstablished - tcpLeft));
}

/** All that is known of a container's traffic. */
export interface ContainerStatistics {
  usage: Usage;
  /** Undefined: no pass has looked at it. */
  sockets?: SocketNumbers;
  /** Undefined: not sampled. */
  rates?: mesos.ResourceStatistics.RateStatistics;
  /** What other features have fields of ResourceStatistics for. */
  more?: StatisticsFields;
}

/** Fields of ResourceStatistics that a feature fills in. */
export type StatisticsFields = Omit<Partial<mesos.ResourceStatistics>, "timestamp">;

function tcpFields(usage: Usage, sockets?: SocketNumbers): Partial<mesos.ResourceStatistics> {
  const rtt = sockets?.rtt;
  return {
    net_tcp_active_connections: liveConnections(usage),
    ...(sockets ? { net_tcp_time_wait_connections: sockets.timewait } : {}),
    ...(rtt
      ? {
          net_tcp_rtt_microsecs_p50: rtt.p50,
          net_tcp_rtt_microsecs_p90: rtt.p90,
          net_tcp_rtt_microsecs_p95: rtt.p95,
          net_tcp_rtt_microsecs_p99: rtt.p99,
        }
      : {}),
    net_snmp_statistics: {
      tcp_stats: {
        ActiveOpens: usage.tcpActiveOpens,
        PassiveOpens: usage.tcpPassiveOpens,
        AttemptFails: usage.tcpAttemptFails,
        EstabResets: usage.tcpEstabResets,
        CurrEstab: BigInt(establishedConnections(usage)),
        ...(sockets ? { InSegs: sockets.inSegs, OutSegs: sockets.outSegs } : {}),
        RetransSegs: usage.tcpRetransSegs,
      },
    },
  };
}

/** Mesos's message (include/mesos/mesos.proto). @param time seconds since the epoch, when it was measured */
export function toResourceStatistics(
  { usage, sockets, rates, more }: ContainerStatistics,
  time: number,
): mesos.ResourceStatistics {
  return {
    timestamp: time,
    net_rx_packets: usage.rxPackets,
    net_rx_bytes: usage.rxBytes,
    // Errors are those of a device: a container has none.
    net_rx_errors: 0n,
    net_rx_dropped: usage.rxDropped,
    net_tx_packets: usage.txPackets,
    net_tx_bytes: usage.txBytes,
    net_tx_errors: 0n,
    net_tx_dropped: usage.txDropped,
    ...tcpFields(usage, sockets),
    ...(rates ? { net_rate_statistics: rates } : {}),
    ...more,
  };
}

/** The same in Mesos's JSON; what Mesos has no field for is under `bpf_isolator`. */
export function toStatisticsJson(statistics: ContainerStatistics, time: number): Record<string, unknown> {
  const { denied, audited, eventsLost } = statistics.usage;
  const counts = (values: Record<Reason, bigint>): Record<string, number> =>
    Object.fromEntries(REASONS.map((reason) => [reason, Number(values[reason])]));
  return {
    ...codecs.ResourceStatistics.toJson(toResourceStatistics(statistics, time)),
    bpf_isolator: {
      denied: counts(denied),
      audited: counts(audited),
      events_lost: Number(eventsLost),
    },
  };
}
