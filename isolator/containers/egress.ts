/** Sets of egress rules in the kernel: written before a policy names them, removed when none does any more. */
import {
  compileEgress,
  decodeHit,
  EGRESS_BLOCK_SIZE,
  EGRESS_CLASS_SIZE,
  EGRESS_HIT_SIZE,
  egressSet,
  encodeEgressBlock,
  encodeEgressClass,
  setOfKey,
  type EgressHits,
  type EgressPolicy,
} from "../features/egress.js";
import type { BpfMap } from "../kernel/maps.js";

export interface EgressMaps {
  map: (name: "egress_blocks" | "egress_classes" | "egress_hits") => BpfMap;
}

/** Writes all of a set; what is there already is the same. @throws bad-argument, map-full */
export function writeEgress(maps: EgressMaps, policy: EgressPolicy): void {
  const set = egressSet(policy);
  const { blocks, classes } = compileEgress(policy);
  for (const entry of blocks) maps.map("egress_blocks").update(encodeEgressBlock(set, entry), entry.value);
  for (const entry of classes) maps.map("egress_classes").update(encodeEgressClass(set, entry), entry.value);
}

/**
 * Removes the sets that nobody uses. No program may be about to look at one: a policy that named it was changed a while
 * ago, or its container is gone. Under the instance's lock.
 */
export function sweepEgress(maps: EgressMaps, used: ReadonlySet<bigint>): void {
  for (const [name, size] of [
    ["egress_blocks", EGRESS_BLOCK_SIZE],
    ["egress_classes", EGRESS_CLASS_SIZE],
  ] as const) {
    const map = maps.map(name);
    for (const key of map.keys(size)) if (!used.has(setOfKey(key))) map.delete(key);
  }
}

/** What each rule has refused and reported of a container. */
export function readHits(maps: EgressMaps, cgroupId: bigint): EgressHits[] {
  const map = maps.map("egress_hits");
  const found = new Map<number, EgressHits>();
  for (const key of map.keys(EGRESS_HIT_SIZE)) {
    const hit = decodeHit(key, cgroupId);
    if (!hit) continue;
    const count = new BigUint64Array(map.lookup(key)?.slice().buffer ?? new ArrayBuffer(8))[0] ?? 0n;
    const hits = found.get(hit.rule) ?? { rule: hit.rule, denied: 0n, audited: 0n };
    if (hit.denied) hits.denied += count;
    else hits.audited += count;
    found.set(hit.rule, hits);
  }
  return [...found.values()].sort((a, b) => a.rule - b.rule);
}

export function forgetHits(maps: EgressMaps, cgroupId: bigint): void {
  const map = maps.map("egress_hits");
  for (const key of map.keys(EGRESS_HIT_SIZE)) if (decodeHit(key, cgroupId)) map.delete(key);
}
