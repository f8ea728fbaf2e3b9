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
import { u64Key } from "../kernel/codec.js";
import { LOCK_BYTES, type MapName } from "../kernel/contents.js";
import { UNDER_LOCK, type BpfMap } from "../kernel/maps.js";

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
  maps.map("connect_rules").update(key, encodeRules(policy));
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
