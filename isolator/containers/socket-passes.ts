/**
 * Passes over the TCP sockets of this process's network namespace: one iterator for all containers of an instance and for
 * all that needs it. Statistics learn of timewait, round trips and segments; connections that are closed for good are
 * given back; those that rules of egress have come to deny are ended where a policy wants that. The kernel does it while a thread of the pool waits in read(): the event loop goes on.
 */
import {
  decodeTally,
  newTally,
  NO_SOCKETS,
  SocketFigures,
  type SocketCounts,
  type SocketNumbers,
} from "../features/statistics.js";
import { decode, encode, u32Key, u64Key } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import { networkCookie, runIterator } from "../kernel/iterator.js";
import { FileLock } from "../kernel/lock.js";
import type { BpfMap } from "../kernel/maps.js";
import type { Programs } from "../kernel/programs.js";
import { endingWay, endSockets, type EndedSocket } from "../kernel/terminate.js";
import { pacing } from "./background.js";

/** What a pass found of connections that are closed. */
export interface PassResult {
  /** Given back, since the kernel does not keep their port any more. */
  released: number;
  /** Still kept, or not of this process's network namespace. */
  kept: number;
}

export interface WatchedContainer {
  programs: Programs;
  /** cgroup id of the container that it is nested in, or 0. */
  parent: bigint;
  counts: () => SocketCounts;
  /** Whether it has closed connections that are still counted. */
  hasClosed: () => boolean;
  /** Whether connections of it that its rules have come to deny are to be ended; tells the programs. */
  ends: () => boolean;
  /** In a network of its own no pass sees its sockets. */
  ownNetwork: boolean;
}

const NOTHING: SocketCounts = { tcpTimewaits: 0n, tcpTimewaitsLost: 0n, tcpInSegs: 0n, tcpOutSegs: 0n };
/** Between two passes where none of statistics are wanted. ms */
const INTERVAL = 10_000;
/** ms from a change of rules to the pass that ends what they deny: many change together. */
const SOON = 100;
/** One at a time of a process: it must end before another is begun. Those of other processes are kept off by a lock. */
let passes = Promise.resolve();

export class SocketPasses {
  private readonly watched = new Map<bigint, WatchedContainer>();
  private readonly figures = new Map<bigint, SocketFigures>();
  /** Containers that the kernel has a tally of. */
  private readonly tallied = new Set<bigint>();
  /** One for all tallies: what is read is decoded at once. */
  private readonly buffer = new Uint8Array(layouts.structs.socket_tally.size);
  private timer: NodeJS.Timeout | undefined;
  /** A pass that is under way is to come to its end. */
  private stopping = false;
  private soonTimer: NodeJS.Timeout | undefined;
  private statistics = false;
  private interval = INTERVAL;

  /** Told of each pass that has ended connections. */
  onEnded: (sockets: readonly EndedSocket[]) => void = () => undefined;

  /** @param lockFile one process of the instance does it at a time */
  constructor(private readonly lockFile: string) {}

  /** From now on a pass is made for statistics too, of containers that are added from now on. @param interval ms */
  keepStatistics(interval: number): void {
    if (this.statistics && interval === this.interval) return;
    this.statistics = true;
    this.interval = interval;
    clearInterval(this.timer);
    this.timer = undefined;
    if (this.watched.size > 0) this.start();
  }

  /** No more passes, until a container is added. */
  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    this.stopping = true;
  }

  private start(): void {
    this.stopping = false;
    this.timer ??= setInterval(() => {
      void this.look();
    }, this.interval).unref();
  }

  /** Makes a pass in a moment: rules have changed. */
  soon(): void {
    this.soonTimer ??= setTimeout(() => {
      this.soonTimer = undefined;
      void this.look();
    }, SOON).unref();
  }

  /** Without statistics, only what counts or ends connections has a use for passes. Safe to repeat. */
  add(cgroupId: bigint, container: WatchedContainer, counts: boolean): void {
    if (!counts && !this.statistics) return;
    this.watched.set(cgroupId, container);
    this.start();
  }

  /** Of a container in which nothing has run yet all is known without a pass, and nothing is counted. */
  begin(cgroupId: bigint): void {
    if (!this.statistics) return;
    const figures = new SocketFigures();
    figures.add(NO_SOCKETS, NOTHING, performance.now());
    this.figures.set(cgroupId, figures);
  }

  /** Resolves when nothing uses the container's programs any more. */
  async delete(cgroupId: bigint): Promise<void> {
    const container = this.watched.get(cgroupId);
    this.watched.delete(cgroupId);
    this.figures.delete(cgroupId);
    if (this.tallied.delete(cgroupId)) container?.programs.map("socket_tallies").delete(u64Key(cgroupId));
    if (this.watched.size > 0) return;
    this.stop();
    await passes;
  }

  /** What passes have found of a container; undefined: none has looked at it yet. @param now what is counted now */
  numbersOf(cgroupId: bigint, now: SocketCounts): SocketNumbers | undefined {
    return this.figures.get(cgroupId)?.read(now);
  }

  /** Makes a pass if anything has a use for it. What fails is tried again, and timewait lapses by time at the latest. */
  async look(): Promise<void> {
    const all = [...this.watched.values()];
    const [first] = all;
    if (first && (this.statistics || all.some((container) => container.hasClosed() || container.ends())))
      await this.run(first.programs).catch(() => undefined);
  }

  /**
   * Makes a pass now.
   * @returns undefined where another process makes one now
   * @throws map-failed
   */
  run(programs: Programs): Promise<PassResult | undefined> {
    const result = passes.then(async () => {
      const lock = FileLock.try(this.lockFile);
      if (!lock) return undefined;
      try {
        return await this.pass(programs);
      } finally {
        lock.release();
      }
    });
    passes = result.then(
      () => undefined,
      () => undefined,
    );
    return result;
  }

  private async pass(programs: Programs): Promise<PassResult> {
    const before = await this.openTallies(programs);
    const layout = layouts.structs.connection_pass;
    const map = programs.map("connect_pass");
    const key = u32Key(0);
    const last = map.lookup(key);
    const number = ((last ? decode(layout, last).number : 0) + 1) >>> 0;
    const asked = {
      ...{ netns: networkCookie(), started: process.hrtime.bigint(), number },
      ...{ released: 0, kept: 0, reserved: 0 },
    };
    map.update(key, encode(layout, asked));
    await runIterator(programs.iterator("connections_tcp"));
    await this.readTallies(programs, before, number);
    await this.end(programs);
    const after = map.lookup(key);
    const { released, kept } = after ? decode(layout, after) : asked;
    return { released, kept };
  }

  private async end(programs: Programs): Promise<void> {
    let any = false;
    const rest = pacing(() => this.stopping);
    for (const [cgroupId, container] of [...this.watched]) {
      const due = rest();
      if (due) await due;
      // What it tells the programs would stay for ever once the container is gone.
      if (this.watched.has(cgroupId)) any = container.ends() || any;
    }
    if (!any || endingWay() === undefined) return;
    const ended = await endSockets(programs);
    if (ended.length > 0) this.onEnded(ended);
  }

  /** Makes sure that the kernel has a tally of each container, and takes its counts: what comes later is later. */
  private async openTallies(programs: Programs): Promise<Map<bigint, SocketCounts>> {
    const before = new Map<bigint, SocketCounts>();
    if (!this.statistics) return before;
    const map = programs.map("socket_tallies");
    if (this.tallied.size === 0) this.forgetOthers(map);
    const rest = pacing(() => this.stopping);
    for (const [cgroupId, container] of [...this.watched]) {
      const due = rest();
      if (due) await due;
      if (container.ownNetwork || !this.watched.has(cgroupId)) continue;
      if (!this.tallied.has(cgroupId)) map.update(u64Key(cgroupId), newTally(container.parent));
      this.tallied.add(cgroupId);
      before.set(cgroupId, container.counts());
    }
    return before;
  }

  /** What a process before this one has left of containers that are gone. */
  private forgetOthers(map: BpfMap): void {
    for (const cgroupId of map.u64Keys()) if (!this.watched.has(cgroupId)) map.delete(u64Key(cgroupId));
  }

  private async readTallies(
    programs: Programs,
    before: ReadonlyMap<bigint, SocketCounts>,
    number: number,
  ): Promise<void> {
    const time = performance.now();
    const rest = pacing(() => this.stopping);
    for (const [cgroupId, counted] of before) {
      const due = rest();
      if (due) await due;
      const container = this.watched.get(cgroupId);
      if (!container) continue;
      const value = programs.map("socket_tallies").lookup(u64Key(cgroupId), this.buffer);
      if (!value) continue;
      const tally = decodeTally(value, number);
      const known = this.figures.get(cgroupId);
      if (known) {
        known.add(tally, counted, time);
        continue;
      }
      const figures = new SocketFigures();
      figures.addFirst(tally, counted, container.counts(), time);
      this.figures.set(cgroupId, figures);
    }
  }
}
