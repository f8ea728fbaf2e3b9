/** What the compiled object holds besides the hooks' programs (hooks.ts). */
import { layouts } from "./gen/layout.js";

/** Value sizes in bytes; event_rings holds the id of a map. */
export const MAPS = {
  policies: layouts.structs.policy.size,
  counters: layouts.structs.counters.size,
  port_owners: layouts.structs.port_owner.size,
  event_rings: 4,
  socket_notes: layouts.structs.socket_note.size,
} as const;

export type MapName = keyof typeof MAPS;

export const MAP_NAMES = Object.keys(MAPS) as MapName[];
/** Its program in bpf/isolator.bpf.c says what it is for. */
export const PRIMER = { name: "primer", attachType: 1 } as const;
