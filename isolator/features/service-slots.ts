/** From what a backend is drawn: slots, of which the programs choose one by chance, or by the client (bpf/service_choice.h). */
import { formatPort, type Backend, type Service } from "./services.js";

/** Two backends, of which one is drawn. */
export interface Slot {
  backend: Backend;
  other: Backend;
  /** Probability of the first. */
  first: number;
}

/**
 * Slots from which a backend is drawn by weight in two steps, however many there are (Vose's alias method): as many as
 * backends, and slot i has backend i first.
 */
export function slotsByWeight(backends: readonly Backend[]): Slot[] {
  const total = backends.reduce((sum, { weight = 1 }) => sum + weight, 0);
  const share = backends.map(({ weight = 1 }) => (weight * backends.length) / total);
  const slots = backends.map((backend): Slot => ({ backend, other: backend, first: 1 }));
  const small: number[] = [];
  const large: number[] = [];
  share.forEach((part, i) => (part < 1 ? small : large).push(i));
  for (;;) {
    const less = small.pop();
    const more = large.pop();
    const [slot, giver] = [slots[less ?? -1], slots[more ?? -1]];
    if (less === undefined || more === undefined || !slot || !giver) break;
    slot.first = share[less] ?? 1;
    slot.other = giver.backend;
    const rest = (share[more] ?? 0) - (1 - slot.first);
    share[more] = rest;
    (rest < 1 ? small : large).push(more);
  }
  return slots;
}

/** Places of a backend on the ring: more spread its share more evenly. */
const PLACES = 40;
const SLOTS_PER_BACKEND = 16;
const FEWEST_SLOTS = 256;
const MOST_SLOTS = 65_536;

/** A number of 32 bits for a text (FNV-1a, and murmur3's last step). */
function hashOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

/**
 * Slots for affinity, of which a client always has the same one: by consistent hashing, so that a backend that comes or
 * goes changes the slots that it gets or had, and no others.
 */
export function slotsByAffinity(backends: readonly Backend[]): Slot[] {
  if (backends.length === 0) return [];
  const mean = backends.reduce((sum, { weight = 1 }) => sum + weight, 0) / backends.length;
  const ring = backends.flatMap((backend) => {
    const places = Math.max(1, Math.min(PLACES * 16, Math.round((PLACES * (backend.weight ?? 1)) / mean)));
    const name = formatPort(backend);
    return Array.from({ length: places }, (_, i) => ({ at: hashOf(`${name} ${i}`), backend }));
  });
  ring.sort((a, b) => a.at - b.at || formatPort(a.backend).localeCompare(formatPort(b.backend)));
  const wanted = Math.min(MOST_SLOTS, Math.max(FEWEST_SLOTS, SLOTS_PER_BACKEND * backends.length));
  const count = 2 ** Math.ceil(Math.log2(wanted));
  let next = 0;
  return Array.from({ length: count }, (_, i) => {
    const at = (i * 2 ** 32) / count;
    while (next < ring.length && (ring[next]?.at ?? 0) < at) next++;
    const backend = (ring[next % ring.length] ?? ring[0])?.backend ?? { address: "::", port: 0 };
    return { backend, other: backend, first: 1 };
  });
}

export function slotsOf(service: Service, backends: readonly Backend[]): Slot[] {
  return service.affinity === "container" ? slotsByAffinity(backends) : slotsByWeight(backends);
}
