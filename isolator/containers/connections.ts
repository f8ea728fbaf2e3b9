/** A container's connections in the kernel's maps: made before its policy, read, and taken away after its node. */
import {
  decodeSet,
  decodeTotals,
  encodeRules,
  newTotals,
  type ConnectionsPolicy,
  type HeldConnections,
  type HeldDestination,
} from "../features/connections.js";
import { decode, encode, u32Key, u64Key } from "../kernel/codec.js";
import { LOCK_BYTES, type MapName } from "../kernel/contents.js";
import { layouts } from "../kernel/gen/layout.js";
import { networkCookie, runIterator } from "../kernel/iterator.js";
import { FileLock } from "../kernel/lock.js";
import { UNDER_LOCK, type BpfMap } from "../kernel/maps.js";
import type { Programs } from "../kernel/programs.js";

/** The maps that are needed; Programs is one. */
export interface ConnectionMaps {
  map(name: Extract<MapName, `connect_${string}`>): BpfMap;
}

function totalsOf(cgroupId: bigint): Uint8Array {
  return Uint8Array.from([...new Uint8Array(LOCK_BYTES), ...newTotals(cgroupId)]);
}

/**
 * Makes the counts of a container where it has none yet, and writes its rules: before the policy that asks for them.
 * @throws map-full, map-failed, bad-argument
 */
export function openConnections(
  maps: ConnectionMaps,
  cgroupId: bigint,
  policy: ConnectionsPolicy | undefined,
): void {
  if (!policy) return;
  const key = u64Key(cgroupId);
  const totals = maps.map("connect_totals");
  if (!totals.lookup(key)) totals.update(key, totalsOf(cgroupId));
  maps.map("connect_rules").update(key, encodeRules(policy.rules ?? []));
}

/** Takes away what openConnections() made. A socket that somebody else still has finds nothing to give back to. */
export function closeConnections(maps: ConnectionMaps, cgroupId: bigint): void {
  const key = u64Key(cgroupId);
  const totals = maps.map("connect_totals");
  if (totals.lookup(key)) {
    // Seen by a program that has found the value and not locked it yet, for which it is nobody's from now on.
    totals.update(key, totalsOf(0n), UNDER_LOCK);
    totals.delete(key);
  }
  maps.map("connect_rules").delete(key);
}

/** @param totals the map connect_totals @returns undefined: not counted */
export function readConnections(totals: BpfMap, cgroupId: bigint): HeldConnections | undefined {
  const value = totals.lookup(u64Key(cgroupId));
  return value && decodeTotals(value.subarray(LOCK_BYTES));
}

/** Every destination that connections are held to, by whichever container; most held first. Takes milliseconds. @param sets the map connect_sets */
export function readDestinations(sets: BpfMap): HeldDestination[] {
  const values = sets.lookupAll();
  const found: HeldDestination[] = [];
  for (let at = LOCK_BYTES; at < values.length; at += sets.valueSize)
    found.push(...decodeSet(values.subarray(at, at + sets.valueSize - LOCK_BYTES)));
  return found.sort((a, b) => b.held - a.held);
}

export interface PassResult {
  /** Given back, since the kernel does not keep their port any more. */
  released: number;
  /** Still kept, or not of this process's network namespace. */
  kept: number;
}

/** One at a time of a process: it must end before another is begun. Those of other processes are kept off by a lock. */
let passes = Promise.resolve();

/**
 * Gives back connections that are closed and whose port the kernel has given up before its time (an RST, a new
 * connection in its place, a peer that was quick to send its FIN). Only those of this process's network namespace.
 * @param lockFile one process of the instance does it at a time
 * @returns undefined where another process does it now
 * @throws map-failed
 */
export function releaseClosed(programs: Programs, lockFile: string): Promise<PassResult | undefined> {
  const result = passes.then(async () => {
    const lock = FileLock.try(lockFile);
    if (!lock) return undefined;
    try {
      return await pass(programs);
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

/** Between two looks for connections that are closed for good. ms */
const PASS_INTERVAL = 10_000;

/** Looks after the closed connections of an instance's containers, for as long as one of them is counted. */
export class ClosedWatch {
  private readonly watched = new Map<bigint, Programs>();
  private timer: NodeJS.Timeout | undefined;

  /** @param lockFile as releaseClosed() has it */
  constructor(private readonly lockFile: string) {}

  add(cgroupId: bigint, programs: Programs): void {
    this.watched.set(cgroupId, programs);
    this.timer ??= setInterval(() => {
      // What fails is tried again, and lapses by time at the latest.
      this.look().catch(() => undefined);
    }, PASS_INTERVAL).unref();
  }

  /** Resolves when nothing uses the container's programs any more. */
  async delete(cgroupId: bigint): Promise<void> {
    this.watched.delete(cgroupId);
    if (this.watched.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
    await passes;
  }

  private async look(): Promise<void> {
    for (const [cgroupId, programs] of this.watched) {
      const connections = readConnections(programs.map("connect_totals"), cgroupId);
      if (!connections || connections.held === connections.live) continue;
      await releaseClosed(programs, this.lockFile);
      return;
    }
  }
}

async function pass(programs: Programs): Promise<PassResult> {
  const layout = layouts.structs.connection_pass;
  const map = programs.map("connect_pass");
  const key = u32Key(0);
  const before = map.lookup(key);
  const number = ((before ? decode(layout, before).number : 0) + 1) >>> 0;
  const asked = {
    ...{ netns: networkCookie(), started: process.hrtime.bigint(), number },
    ...{ released: 0, kept: 0, reserved: 0 },
  };
  map.update(key, encode(layout, asked));
  await runIterator(programs.iterator("connections_tcp"));
  const after = map.lookup(key);
  const { released, kept } = after ? decode(layout, after) : asked;
  return { released, kept };
}
