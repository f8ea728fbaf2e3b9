/** Sets of rules for destinations in the kernel, of egress and of markings: written before a policy names them, removed when none does any more. */
import {
  compileEgress,
  EGRESS_BLOCK_SIZE,
  EGRESS_CLASS_SIZE,
  encodeEgressBlock,
  encodeEgressClass,
  setOfKey,
} from "../features/egress-tables.js";
import {
  egressSet,
  encodeTermination,
  hitKeys,
  type EgressHits,
  type EgressPolicy,
} from "../features/egress.js";
import {
  encodeMarkingRules,
  encodeMarkingSet,
  MARKING_RULE_SIZE,
  markingRules,
  markingSet,
  type MarkingPolicy,
} from "../features/marking.js";
import type { Policy } from "../features/policy.js";
import { LITTLE, u64Key } from "../kernel/codec.js";
import type { BpfMap } from "../kernel/maps.js";

export interface EgressMaps {
  map: (name: "egress_blocks" | "egress_classes" | "egress_hits" | "terminations") => BpfMap;
}

export interface RuleMaps {
  map: (name: "egress_blocks" | "egress_classes" | "marking_rules" | "marking_sets") => BpfMap;
}

/** A set of rules for destinations, which all containers with the same ones share. */
export interface RuleSet {
  /** By what is in it. */
  id: bigint;
  rules: EgressPolicy;
  /** What the rules come to, where they are those of a marking. */
  marking?: MarkingPolicy;
}

/** The sets that a policy names. */
export function setsOf({ egress, marking }: Policy): RuleSet[] {
  return [
    ...(egress ? [{ id: egressSet(egress), rules: egress }] : []),
    ...(marking?.destinations ? [{ id: markingSet(marking), rules: markingRules(marking), marking }] : []),
  ];
}

/** Writes all that a policy names; what is there already is the same. @throws bad-argument, map-full */
export function writeSets(maps: RuleMaps, cgroupId: bigint, policy: Policy): void {
  for (const { id, rules, marking } of setsOf(policy)) {
    // What a rule comes to before the rule.
    if (marking)
      for (const { key, value } of encodeMarkingRules(marking)) maps.map("marking_rules").update(key, value);
    const { blocks, classes } = compileEgress(rules);
    maps.map("egress_blocks").change(() => {
      for (const entry of blocks) maps.map("egress_blocks").update(encodeEgressBlock(id, entry), entry.value);
      for (const entry of classes)
        maps.map("egress_classes").update(encodeEgressClass(id, entry), entry.value);
    });
    if (marking) maps.map("marking_sets").update(u64Key(cgroupId), encodeMarkingSet(marking));
  }
}

/** Removes a set, which no program may be about to look at. Under the instance's lock. */
export function removeSet(maps: RuleMaps, { id, rules, marking }: RuleSet): void {
  const { blocks, classes } = compileEgress(rules);
  maps.map("egress_blocks").change(() => {
    for (const entry of blocks) maps.map("egress_blocks").delete(encodeEgressBlock(id, entry));
    for (const entry of classes) maps.map("egress_classes").delete(encodeEgressClass(id, entry));
  });
  if (marking) for (const { key } of encodeMarkingRules(marking)) maps.map("marking_rules").delete(key);
}

/** A container has no markings by destination any more. */
export function forgetMarkingSet(maps: { map: (name: "marking_sets") => BpfMap }, cgroupId: bigint): void {
  maps.map("marking_sets").delete(u64Key(cgroupId));
}

/**
 * Removes the sets that nobody uses, which an earlier process may have left. Under the instance's lock. Ends what programs
 * remember of verdicts, since that process may have been killed in a change.
 */
export function sweepSets(maps: RuleMaps, used: ReadonlySet<bigint>): void {
  for (const [name, size] of [
    ["egress_blocks", EGRESS_BLOCK_SIZE],
    ["egress_classes", EGRESS_CLASS_SIZE],
    ["marking_rules", MARKING_RULE_SIZE],
  ] as const) {
    const map = maps.map(name);
    map.change(() => {
      for (const key of map.keys(size)) if (!used.has(setOfKey(key))) map.delete(key);
    });
  }
}

/** What each rule has refused and reported of a container. */
export function readHits(maps: EgressMaps, cgroupId: bigint, policy: EgressPolicy): EgressHits[] {
  const map = maps.map("egress_hits");
  const found = new Map<number, EgressHits>();
  const value = new Uint8Array(8);
  for (const { key, rule, denied } of hitKeys(cgroupId, policy)) {
    if (!map.lookup(key, value)) continue;
    const count = new DataView(value.buffer).getBigUint64(0, LITTLE);
    const hits = found.get(rule) ?? { rule, denied: 0n, audited: 0n };
    hits[denied ? "denied" : "audited"] += count;
    found.set(rule, hits);
  }
  return [...found.values()];
}

/** What is counted from then on is counted anew. */
export function forgetHits(maps: EgressMaps, cgroupId: bigint, policy: EgressPolicy): void {
  const map = maps.map("egress_hits");
  for (const { key } of hitKeys(cgroupId, policy)) map.delete(key);
}

/**
 * Says to programs that end what is denied and exists already (kernel/terminate.ts) whether a container's rules do.
 * @param chain cgroup ids from the root container down to this one
 * @returns whether they do
 */
export function writeTermination(
  maps: EgressMaps,
  policy: EgressPolicy | undefined,
  chain: readonly bigint[],
): boolean {
  const key = u64Key(chain.at(-1) ?? 0n);
  if (policy?.existing === "terminate")
    maps.map("terminations").update(key, encodeTermination(policy, chain));
  else maps.map("terminations").delete(key);
  return policy?.existing === "terminate";
}
