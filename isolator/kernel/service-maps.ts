/** The maps of services. */
import type { MapName } from "./contents.js";
import type { BpfMap } from "./maps.js";

export const SERVICE_MAPS = [
  "services",
  "service_slots",
  "service_backends",
  "service_ends",
  "service_places",
  "service_states",
  "service_misses",
] as const satisfies readonly MapName[];

export type ServiceMapName = (typeof SERVICE_MAPS)[number];

export interface ServiceMaps {
  map: (name: ServiceMapName) => BpfMap;
}
