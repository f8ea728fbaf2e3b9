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
import type { BpfMap } from "../kernel/maps.js";

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
