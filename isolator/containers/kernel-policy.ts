/** A container's policy on its way to the kernel: what it needs in the features' maps first, then itself. */
import { encodePolicy, type Policy } from "../features/policy.js";
import { u64Key } from "../kernel/codec.js";
import type { Programs } from "../kernel/programs.js";
import { openConnections } from "./connections.js";
import type { Instance } from "./instance.js";

export interface PolicyTarget {
  cgroupId: bigint;
  /** 0 for a root container, 1 for its child, ... */
  level: number;
  /** Index in event_rings. */
  ring: number;
}

/**
 * Writes a policy to this build's maps. Under the instance's lock.
 * @throws map-full, map-failed, attach-failed
 */
export function writePolicy(
  instance: Instance,
  programs: Programs,
  policy: Policy,
  { cgroupId, level, ring }: PolicyTarget,
): void {
  const key = u64Key(cgroupId);
  openConnections(programs, cgroupId, policy.connections);
  const filter = instance.files.open(programs, cgroupId, policy.files);
  const value = encodePolicy(policy, cgroupId, level, ring, filter);
  if (policy.files) {
    programs.map("file_policies").update(key, value);
    programs.attachToMachine();
  }
  programs.map("policies").update(key, value);
  if (!policy.files) programs.map("file_policies").delete(key);
}
