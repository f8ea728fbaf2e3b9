/** Services of a container's own in the kernel, as `run --vip` gives them. Those of a daemon are isolator/cluster/'s. */
import { networkInterfaces } from "node:os";
import { formatEnd, serviceSet, type ServicesPolicy } from "../features/services.js";
import { ServiceTable } from "../kernel/service-table.js";
import type { ServiceMaps } from "../kernel/service-maps.js";

/** Whether an address is one of this host's. */
export function isHostAddress(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((entry) => entry.address === address));
}

/** Writes what a container has of its own: before the policy that says so. @throws map-full, map-failed */
export function writeServices(
  maps: ServiceMaps,
  cgroupId: bigint,
  policy: ServicesPolicy | undefined,
  before: ServiceTable | undefined,
): ServiceTable | undefined {
  if (!policy?.own) return before;
  const table = before ?? new ServiceTable(maps, serviceSet(policy, cgroupId));
  const wanted = new Set(policy.own.map(formatEnd));
  for (const service of policy.own) table.put(service, [], isHostAddress);
  for (const { service } of table.list()) if (!wanted.has(formatEnd(service))) table.remove(service);
  return table;
}
