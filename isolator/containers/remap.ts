/** Port mappings of containers in the kernel: the map port_remaps. Whoever changes it holds the instance's lock. */
import {
  mappingsOfEntries,
  readRemapEntries,
  RemapChanges,
  remapEntries,
  type RemapEntry,
} from "../features/remap-sets.js";
import type { PortMapping } from "../features/remap.js";
import { u32Key } from "../kernel/codec.js";
import type { BpfMap } from "../kernel/maps.js";

function change(map: BpfMap, entries: readonly RemapEntry[], how: "put" | "remove"): void {
  const changes = new RemapChanges((index) => {
    const value = new Uint8Array(map.valueSize);
    map.lookup(u32Key(index), value);
    return value;
  });
  for (const entry of entries) changes[how](entry);
  map.updateBatch(...changes.batch);
}

/** Writes a container's mappings: before the policy that says that there are some. @throws map-full, map-failed */
export function writeMappings(
  map: BpfMap,
  cgroupId: bigint,
  mappings: readonly PortMapping[] | undefined,
): void {
  change(map, remapEntries(mappings ?? [], cgroupId), "put");
}

const keyOf = ({ cgroupId, port, way }: RemapEntry): string => `${cgroupId} ${port} ${way}`;

/**
 * Takes away what writeMappings() wrote.
 * @param but mappings that stay
 * @throws map-failed
 */
export function deleteMappings(
  map: BpfMap,
  cgroupId: bigint,
  mappings: readonly PortMapping[] | undefined,
  but: readonly PortMapping[] | undefined = [],
): void {
  const kept = new Set(remapEntries(but, cgroupId).map(keyOf));
  const gone = remapEntries(mappings ?? [], cgroupId).filter((entry) => !kept.has(keyOf(entry)));
  change(map, gone, "remove");
}

/** What the kernel has of a container's mappings, one for each protocol. */
export function readMappings(map: BpfMap, cgroupId: bigint): PortMapping[] {
  return mappingsOfEntries(readRemapEntries(map.lookupAll()).filter((entry) => entry.cgroupId === cgroupId));
}

/**
 * Takes away all that the policies do not say: for a daemon that starts, after one that ended between two steps.
 * @param desired mappings of each container, by its cgroup id; those of containers that are not here go
 */
export function sweepMappings(map: BpfMap, desired: ReadonlyMap<bigint, readonly PortMapping[]>): void {
  const kept = new Set(
    [...desired].flatMap(([cgroupId, mappings]) => remapEntries(mappings, cgroupId).map(keyOf)),
  );
  const stray = readRemapEntries(map.lookupAll()).filter((entry) => !kept.has(keyOf(entry)));
  change(map, stray, "remove");
}
