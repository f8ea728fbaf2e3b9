/** Port mappings of containers in the kernel: the map port_remaps. */
import {
  decodeMapping,
  encodeMappings,
  MAPPING_KEY_BYTES,
  ownerOfMapping,
  type PortMapping,
} from "../features/remap.js";
import type { BpfMap } from "../kernel/maps.js";

/** Writes a container's mappings: before the policy that says that there are some. @throws map-full, map-failed */
export function writeMappings(
  map: BpfMap,
  cgroupId: bigint,
  mappings: readonly PortMapping[] | undefined,
): void {
  const entries = encodeMappings(mappings ?? [], cgroupId);
  map.updateBatch(
    Buffer.concat(entries.map(({ key }) => key)),
    Buffer.concat(entries.map(({ value }) => value)),
    entries.length,
  );
}

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
  const text = (key: Uint8Array): string => Buffer.from(key).toString("hex");
  const kept = new Set(encodeMappings(but, cgroupId).map(({ key }) => text(key)));
  for (const { key } of encodeMappings(mappings ?? [], cgroupId)) if (!kept.has(text(key))) map.delete(key);
}

/** What the kernel has of a container's mappings, one for each protocol. */
export function readMappings(map: BpfMap, cgroupId: bigint): PortMapping[] {
  return map.keys(MAPPING_KEY_BYTES).flatMap((key) => {
    if (ownerOfMapping(key) !== cgroupId) return [];
    const value = map.lookup(key);
    const found = value && decodeMapping(key, value);
    return found ? [found.mapping] : [];
  });
}

/**
 * Takes away all that the policies do not say: for a daemon that starts, after one that ended between two steps.
 * @param desired mappings of each container, by its cgroup id; those of containers that are not here go
 */
export function sweepMappings(map: BpfMap, desired: ReadonlyMap<bigint, readonly PortMapping[]>): void {
  const text = (key: Uint8Array): string => Buffer.from(key).toString("hex");
  const kept = new Set(
    [...desired].flatMap(([cgroupId, mappings]) =>
      encodeMappings(mappings, cgroupId).map(({ key }) => text(key)),
    ),
  );
  for (const key of map.keys(MAPPING_KEY_BYTES)) if (!kept.has(text(key))) map.delete(key);
}
