/** A container's policy on its way to the kernel: what it needs in the features' maps first, then itself. */
import { encodePolicy, type Policy } from "../features/policy.js";
import { u64Key } from "../kernel/codec.js";
import type { Programs } from "../kernel/programs.js";
import { openBandwidth } from "./bandwidth.js";
import { openConnections } from "./connections.js";
import { forgetMarkingSet, writeSets } from "./egress.js";
import type { Instance } from "./instance.js";
import { writeMappings } from "./remap.js";

export interface PolicyTarget {
  cgroupId: bigint;
  /** 0 for a root container, 1 for its child, ... */
  level: number;
  /** Index in event_rings. */
  ring: number;
}

function valueOf(instance: Instance, policy: Policy, { cgroupId, level, ring }: PolicyTarget): Uint8Array {
  return encodePolicy(policy, cgroupId, level, ring, instance.files.filter(policy.files));
}

/**
 * Writes a policy to this build's maps. Under the instance's lock.
 * @throws map-full, map-failed, attach-failed
 */
export function writePolicy(
  instance: Instance,
  programs: Programs,
  policy: Policy,
  target: PolicyTarget,
): void {
  const { cgroupId } = target;
  const key = u64Key(cgroupId);
  writeSets(programs, cgroupId, policy);
  openConnections(programs, cgroupId, policy.connections);
  openBandwidth(programs, cgroupId, policy);
  writeMappings(programs.map("port_remaps"), cgroupId, policy.remap);
  instance.files.open(programs, cgroupId, policy.files);
  const value = valueOf(instance, policy, target);
  if (policy.files) {
    programs.map("file_policies").update(key, value);
    programs.attachToMachine();
  }
  programs.map("policies").update(key, value);
  if (!policy.files) programs.map("file_policies").delete(key);
  if (!policy.marking?.destinations) forgetMarkingSet(programs, cgroupId);
}

/** What is not in the kernel as writePolicy() wrote it, in words. */
export function policyFaults(
  instance: Instance,
  programs: Programs,
  policy: Policy,
  target: PolicyTarget,
): string[] {
  const value = valueOf(instance, policy, target);
  const fault = (name: "policies" | "file_policies", what: string): string[] => {
    const found = programs.map(name).lookup(u64Key(target.cgroupId));
    if (found && Buffer.compare(found, value) === 0) return [];
    return [`its policy in the kernel${what} was ${found ? "another one" : "gone"}`];
  };
  if (!policy.files) return fault("policies", "");
  const missing = programs.missingOnMachine();
  return [
    ...fault("policies", ""),
    ...fault("file_policies", " for changes of files"),
    ...(missing.length > 0 ? [`the machine's programs ${missing.join(", ")} were gone`] : []),
  ];
}
