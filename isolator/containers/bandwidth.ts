/** A container's bandwidth in the kernel's maps: made before its programs look for it, changed, read, and taken away. */
import {
  decodeBandwidth,
  encodeBandwidth,
  type BandwidthPolicy,
  type BandwidthUsage,
  type HostBandwidth,
} from "../features/bandwidth.js";
import type { Policy } from "../features/policy.js";
import { u64Key } from "../kernel/codec.js";
import { MAPS } from "../kernel/contents.js";
import { runIterator } from "../kernel/iterator.js";
import type { BpfMap } from "../kernel/maps.js";
import type { Programs } from "../kernel/programs.js";

/** The maps that are needed; Programs is one. */
export interface BandwidthMaps {
  map(name: "bandwidth_rules" | "bandwidths"): BpfMap;
}

/** Stands for the host's budget where others have their cgroup id. */
const HOST = 0n;

function write(maps: BandwidthMaps, id: bigint, policy: BandwidthPolicy, audit: boolean): void {
  const key = u64Key(id);
  const states = maps.map("bandwidths");
  if (!states.lookup(key)) states.update(key, new Uint8Array(MAPS.bandwidths));
  maps.map("bandwidth_rules").update(key, encodeBandwidth(policy, audit));
}

/**
 * Writes what the policy asks for; connections that exist go by it within a step of the programs, some ms.
 * @throws map-full, map-failed
 */
export function openBandwidth(maps: BandwidthMaps, cgroupId: bigint, { bandwidth, enforce }: Policy): void {
  if (bandwidth) write(maps, cgroupId, bandwidth, enforce !== "on");
}

/** Takes away what openBandwidth() made. */
export function closeBandwidth(maps: BandwidthMaps, cgroupId: bigint): void {
  const key = u64Key(cgroupId);
  maps.map("bandwidth_rules").delete(key);
  maps.map("bandwidths").delete(key);
}

/** Undefined: not limited. */
export function readBandwidth(maps: BandwidthMaps, cgroupId: bigint): BandwidthUsage | undefined {
  const value = maps.map("bandwidths").lookup(u64Key(cgroupId));
  return value && decodeBandwidth(value);
}

/** The budget of the host for an instance's containers; undefined: none. @throws map-full, map-failed */
export function writeHostBandwidth(maps: BandwidthMaps, host: HostBandwidth | undefined): void {
  if (host) write(maps, HOST, host, false);
  else closeBandwidth(maps, HOST);
}

/** Undefined: there is no budget. */
export function readHostBandwidth(maps: BandwidthMaps): BandwidthUsage | undefined {
  return readBandwidth(maps, HOST);
}

/** Between two looks for connections that no callback comes from. ms */
const LOOK_INTERVAL = 250;

/**
 * Connections that are older than their container's limit. Where the kernel lets a program ask for their callbacks (6.12
 * and newer) one look is enough; elsewhere they get the level of the moment at each look, for as long as there are any.
 * Only those of this process's network namespace.
 */
export class OlderConnections {
  private readonly watched = new Map<bigint, { programs: Programs; met: bigint }>();
  private timer: NodeJS.Timeout | undefined;
  private looking: Promise<void> = Promise.resolve();

  add(cgroupId: bigint, programs: Programs): void {
    this.watched.set(cgroupId, { programs, met: -1n });
    this.timer ??= setInterval(() => {
      this.look();
    }, LOOK_INTERVAL).unref();
    this.look();
  }

  /** Resolves when nothing uses the container's programs any more. */
  async delete(cgroupId: bigint): Promise<void> {
    this.forget(cgroupId);
    if (this.watched.size === 0) await this.looking;
  }

  private forget(cgroupId: bigint): void {
    this.watched.delete(cgroupId);
    if (this.watched.size > 0) return;
    clearInterval(this.timer);
    this.timer = undefined;
  }

  private look(): void {
    // What fails is tried again.
    this.looking = this.looking.then(() => this.pass()).catch(() => undefined);
  }

  private async pass(): Promise<void> {
    const asked = [...this.watched];
    const [first] = asked;
    if (!first) return;
    await runIterator(first[1].programs.iterator("bandwidth_arms"));
    for (const [cgroupId, watched] of asked) {
      // What was added meanwhile, or again, the next look is for: this one may have passed its sockets.
      if (this.watched.get(cgroupId) !== watched) continue;
      const met = readBandwidth(watched.programs, cgroupId)?.egress.unarmed ?? 0n;
      if (met === watched.met || met === 0n) this.forget(cgroupId);
      watched.met = met;
    }
  }
}
