/**
 * Services in the kernel, of one set: a service's backends are a table that never changes, and another table takes its
 * place by one write. What programs have counted of a backend stays for as long as any service of the set has it.
 */
import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  avoidedUntil,
  blocksOf,
  decodeBackend,
  decodeServiceKey,
  decodeState,
  encodeService,
  encodeServiceKey,
  encodeSlotKey,
  encodeSlots,
  encodeState,
  SERVICE_BLOCK_SIZE,
  SERVICE_KEY_SIZE,
  SLOT_KEY_SIZE,
  STATE_KEYS,
  tableOfSlot,
  tellsVip,
  type BackendCounts,
} from "../features/service-layout.js";
import { slotsOf } from "../features/service-slots.js";
import { formatEnd, type Backend, type Service } from "../features/services.js";
import { u32Key } from "./codec.js";
import type { ServiceMaps } from "./service-maps.js";
import { ServicePlaces } from "./service-places.js";

/** ms after which no program looks at a table any more that a service has left. */
const GRACE = 1_000;
/** Entries that are written in one call. */
const AT_ONCE = 4_096;

/** A service with what programs have counted. */
export interface CountedService {
  service: Service;
  draining: readonly Backend[];
  /** Of its backends, then of those that drain. */
  counts: BackendCounts[];
  /** How often it had no backend. */
  misses: bigint;
}

interface Known {
  service: Service;
  draining: readonly Backend[];
  near: string;
  table: bigint;
  /** Blocks of slots that it has besides those at hand. */
  blocks: number;
  /** Of its backends, then of those that drain. */
  places: readonly number[];
}

/** The half of a table's number that says whose it is. */
function ownerBits(set: bigint): bigint {
  return set & 0xffffffffn;
}

export class ServiceTable {
  private readonly known = new Map<string, Known>();
  private readonly places: ServicePlaces;
  private readonly old = new Map<bigint, { blocks: number; left: number }>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly maps: ServiceMaps,
    private readonly set: bigint,
  ) {
    this.places = new ServicePlaces(maps, set);
  }

  /**
   * Makes it what the kernel has, for the next connect().
   * @param draining backends that are chosen no more and still have connections
   * @param isNear whether a backend is on this host
   * @returns whether a backend is gone
   * @throws map-full, map-failed
   */
  put(
    service: Service,
    draining: readonly Backend[] = [],
    isNear: (address: string) => boolean = () => false,
  ): boolean {
    const text = formatEnd(service);
    const before = this.known.get(text);
    const close = service.preferLocal ? service.backends.filter(({ address }) => isNear(address)) : [];
    const near = JSON.stringify(close);
    if (
      before?.near === near &&
      isDeepStrictEqual(before.service, service) &&
      isDeepStrictEqual(before.draining, draining)
    )
      return false;
    const users = [...service.backends, ...draining];
    const places: number[] = [];
    let table = 0n;
    let blocks: Uint8Array[] = [];
    try {
      for (const backend of users) places.push(this.places.use(service, backend));
      table = this.newTable();
      const placeOf = new Map(service.backends.map((backend, i) => [backend, places[i] ?? 0]));
      const all = slotsOf(service, service.backends);
      const first = slotsOf(service, close);
      const slots = encodeSlots([...all, ...first], (backend) => placeOf.get(backend) ?? 0);
      blocks = blocksOf(slots);
      this.writeBlocks(table, blocks);
      if (tellsVip(service)) this.writeTells();
      this.maps
        .map("services")
        .update(
          encodeServiceKey(this.set, service),
          encodeService(service, { table, count: all.length, near: first.length, slots }),
        );
    } catch (error) {
      // What the kernel has stays as it is.
      users.slice(0, places.length).forEach((backend) => this.places.leave(service.protocol, backend));
      this.leaveTable(table, blocks.length);
      throw error;
    }
    this.known.set(text, { service, draining, near, table, blocks: blocks.length, places });
    return before ? this.leave(before) : false;
  }

  /** @returns whether a backend is gone */
  remove(service: Pick<Service, "address" | "port" | "protocol">): boolean {
    const before = this.known.get(formatEnd(service));
    if (!before) return false;
    this.maps.map("services").delete(encodeServiceKey(this.set, service));
    this.maps.map("service_misses").delete(encodeServiceKey(this.set, service));
    this.known.delete(formatEnd(service));
    return this.leave(before);
  }

  /** What the kernel has now. */
  list(): Iterable<{ service: Service; draining: readonly Backend[] }> {
    return this.known.values();
  }

  /** What the kernel has for a virtual address, by its text (formatEnd()). */
  at(text: string): { service: Service; draining: readonly Backend[] } | undefined {
    return this.known.get(text);
  }

  /** Whether a place, by its text, is that of a backend. */
  hasBackend(text: string): boolean {
    return this.places.has(text);
  }

  /** Backends that are avoided, with their service. */
  *avoided(): Generator<{ service: Service; backend: Backend }> {
    // So far none was.
    if (decodeState(this.maps.map("service_states").lookup(u32Key(STATE_KEYS.watched))) === 0n) return;
    const read = this.places.reader();
    for (const { service, places } of this.known.values())
      for (const [i, backend] of service.backends.entries())
        if (avoidedUntil(read(places[i] ?? 0)) > 0n) yield { service, backend };
  }

  /** All that there is, with what programs have counted. */
  *views(): Generator<CountedService> {
    const read = this.places.reader();
    const map = this.maps.map("service_misses");
    const missed = new Map<string, bigint>();
    for (const key of map.keys(SERVICE_KEY_SIZE)) {
      const at = decodeServiceKey(key);
      if (at.set === this.set) missed.set(formatEnd(at), decodeState(map.lookup(key)));
    }
    for (const [text, { service, draining, places }] of this.known) {
      const counts = places.map((place) => decodeBackend(read(place)));
      yield { service, draining, counts, misses: missed.get(text) ?? 0n };
    }
  }

  /** What programs have counted of a backend of a service. */
  counts({ protocol }: Service, backend: Backend): BackendCounts | undefined {
    return this.places.counts(protocol, backend);
  }

  /** How often it had no backend. */
  misses(service: Service): bigint {
    return decodeState(this.maps.map("service_misses").lookup(encodeServiceKey(this.set, service)));
  }

  /** Removes what an earlier process has left in this set and this one has not. @returns whether a backend is gone */
  forgetOthers(): boolean {
    for (const name of ["services", "service_misses"] as const) {
      const map = this.maps.map(name);
      for (const key of map.keys(SERVICE_KEY_SIZE)) {
        const at = decodeServiceKey(key);
        if (at.set === this.set && !this.known.has(formatEnd(at))) map.delete(key);
      }
    }
    const tables = new Set([...[...this.known.values()].map(({ table }) => table), ...this.old.keys()]);
    this.forgetSlots((table) => tables.has(table));
    return this.places.forgetOthers();
  }

  /** Nothing of it is removed from the kernel any more by this process, unless by clear(). */
  stop(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
  }

  /** Takes all of the set out of the kernel. */
  clear(): void {
    this.stop();
    this.known.clear();
    this.places.clear();
    this.old.clear();
    this.forgetOthers();
  }

  private forgetSlots(isUsed: (table: bigint) => boolean): void {
    const map = this.maps.map("service_slots");
    for (const key of map.keys(SLOT_KEY_SIZE)) {
      const table = tableOfSlot(key);
      if (table >> 32n === ownerBits(this.set) && !isUsed(table)) map.delete(key);
    }
  }

  private newTable(): bigint {
    return (ownerBits(this.set) << 32n) | BigInt(randomBytes(4).readUInt32LE());
  }

  private leave({ service, draining, table, blocks }: Known): boolean {
    let gone = false;
    for (const backend of [...service.backends, ...draining])
      gone = this.places.leave(service.protocol, backend) || gone;
    this.leaveTable(table, blocks);
    return gone;
  }

  private leaveTable(table: bigint, blocks: number): void {
    if (blocks > 0) this.old.set(table, { blocks, left: performance.now() });
    this.removeLater();
  }

  private removeLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.removeOld();
    }, GRACE).unref();
  }

  /** What a service has left a while ago: tables and places of the last moment stay until the next time. */
  private removeOld(): void {
    const map = this.maps.map("service_slots");
    for (const [table, { blocks, left }] of this.old) {
      if (performance.now() - left < GRACE / 2) continue;
      for (let block = 0; block < blocks; block++) map.delete(encodeSlotKey(table, block));
      this.old.delete(table);
    }
    const more = this.places.giveBack(GRACE / 2);
    if (more || this.old.size > 0) this.removeLater();
  }

  /** TCP sockets may have notes from now on. For as long as the maps are there: a socket may keep its. */
  private writeTells(): void {
    this.maps.map("service_states").update(u32Key(STATE_KEYS.tells), encodeState(1n));
  }

  private writeBlocks(table: bigint, blocks: readonly Uint8Array[]): void {
    const map = this.maps.map("service_slots");
    for (let begin = 0; begin < blocks.length; begin += AT_ONCE) {
      const part = blocks.slice(begin, begin + AT_ONCE);
      const keys = new Uint8Array(part.length * SLOT_KEY_SIZE);
      const all = new Uint8Array(part.length * SERVICE_BLOCK_SIZE);
      part.forEach((block, i) => {
        keys.set(encodeSlotKey(table, begin + i), i * SLOT_KEY_SIZE);
        all.set(block, i * SERVICE_BLOCK_SIZE);
      });
      map.updateBatch(keys, all, part.length);
    }
  }
}

/** Takes a set out of the kernel that no process looks after. */
export function forgetServices(maps: ServiceMaps, set: bigint): void {
  new ServiceTable(maps, set).clear();
}
