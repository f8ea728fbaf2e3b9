/** What the compiled object holds besides the hooks' programs (hooks.ts). */
import { layouts } from "./gen/layout.js";

/** What a value with a lock begins with: the lock, and 4 bytes that mean nothing. */
export const LOCK_BYTES = 8;

/** Value sizes in bytes; those that hold maps give the id of one; 0: user space never looks at one. */
export const MAPS = {
  policies: layouts.structs.policy.size,
  counters: layouts.structs.counters.size,
  port_owners: layouts.structs.port_owner.size,
  port_bounds: layouts.structs.port_bounds.size,
  event_rings: 4,
  socket_notes: layouts.structs.socket_note.size,
  connect_totals:
    LOCK_BYTES + layouts.enums.connection_total.CONNECTION_TOTALS * layouts.structs.connection_count.size,
  connect_sets:
    LOCK_BYTES + layouts.enums.connection_sizes.CONNECTION_PLACES * layouts.structs.connection_count.size,
  connect_rules: layouts.enums.connection_sizes.CONNECTION_RULES * layouts.structs.connection_rule.size + 8,
  connect_shares:
    8 + layouts.enums.connection_sizes.CONNECTION_SHARES * layouts.structs.connection_share.size,
  sock_connects: 0,
  socket_holds: 0,
  closed_connects: 0,
  connect_pass: layouts.structs.connection_pass.size,
  bandwidth_rules: layouts.structs.bandwidth_rule.size,
  bandwidths: 2 * layouts.structs.bandwidth_state.size,
  sock_bandwidth: 0,
  socket_tallies: layouts.structs.socket_tally.size,
  timewaits: 0,
  port_remaps: layouts.structs.port_remap_set.size,
  remap_notes: 0,
  file_rules: 4,
  file_policies: layouts.structs.policy.size,
  file_counts: layouts.structs.counters.size,
  file_cache: layouts.structs.file_cache.size,
  file_root: 4,
  endpoint_sets: 4,
  endpoint_blocks: 4,
  endpoint_states: layouts.structs.endpoint_state.size,
  owner_classes: layouts.structs.class_set.size,
  host_addresses: 4,
  egress_blocks: layouts.structs.egress_ranges.size,
  egress_classes: layouts.structs.egress_ranges.size,
  egress_hits: 8,
  marking_sets: layouts.structs.marking_set.size,
  marking_rules: layouts.structs.marking.size,
  marking_notes: 0,
  egress_recent: 0,
  egress_epoch: 8,
  terminations: layouts.structs.termination.size,
  listening: layouts.structs.listening_ports.size,
  services:
    layouts.structs.service.size +
    layouts.enums.service_sizes.SERVICE_AT_HAND * layouts.structs.service_slot.size,
  service_slots: layouts.enums.service_sizes.SERVICE_BLOCK * layouts.structs.service_slot.size,
  service_backends: layouts.structs.service_backend.size,
  service_ends: 4,
  service_places: layouts.structs.service_key.size,
  service_states: 8,
  service_sockets: 0,
  service_misses: 8,
  service_notes: 0,
} as const;

export type MapName = keyof typeof MAPS;

export const MAP_NAMES = Object.keys(MAPS) as MapName[];
/** Its program in bpf/isolator.bpf.c says what it is for. */
export const PRIMER = { name: "primer", attachType: 1 } as const;
/**
 * Programs that user space runs, by reading from them. Those that end sockets themselves need a kernel with
 * bpf_sock_destroy() (6.5): where it has none, `plain` is loaded in their place, which leaves that to user space.
 */
export const ITERATORS = [
  { name: "connections_tcp" },
  { name: "bandwidth_arms" },
  { name: "end_tcp", plain: "list_tcp" },
  { name: "end_udp", plain: "list_udp" },
  { name: "services_udp", plain: "services_list" },
] as const satisfies readonly { name: string; plain?: string }[];
export type IteratorName = (typeof ITERATORS)[number]["name"];
/** Programs that user space calls, as it does system calls. */
export const CALLS = ["files_identify"] as const;
export type CallName = (typeof CALLS)[number];
/** Programs that user space runs, with a question as their packet (query.ts). */
export const QUERIES = ["endpoint_query", "egress_query"] as const;
/** Programs that are put on devices (devices.ts). */
export const DEVICE_PROGRAMS = ["marking_rewrite"] as const;
export type DeviceProgram = (typeof DEVICE_PROGRAMS)[number];
export type QueryName = (typeof QUERIES)[number];
