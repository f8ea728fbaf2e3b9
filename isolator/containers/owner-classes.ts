/** Which classes the programs take a container for where another one connects to its ports. */
import { encodeClasses, type Membership } from "../features/classes.js";
import { u64Key } from "../kernel/codec.js";
import type { BpfMap } from "../kernel/maps.js";

/** The maps of programs that are loaded. */
export interface OwnerMaps {
  map: (name: "owner_classes") => BpfMap;
}

/** @throws map-full */
export function writeClasses(maps: OwnerMaps, cgroupId: bigint, classes: readonly Membership[] = []): void {
  if (classes.length > 0) maps.map("owner_classes").update(u64Key(cgroupId), encodeClasses(classes));
  else forgetClasses(maps, cgroupId);
}

export function forgetClasses(maps: OwnerMaps, cgroupId: bigint): void {
  const map = maps.map("owner_classes");
  const key = u64Key(cgroupId);
  // Most have none, and after a change all that is remembered of verdicts on egress is found out anew.
  if (map.lookup(key)) map.delete(key);
}
