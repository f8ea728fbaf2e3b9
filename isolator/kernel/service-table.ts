/**
 * Services in the kernel, of one set: a service's backends are a table that never changes, and another table takes its
 * place by one write. What programs have counted of a backend stays for as long as any service of the set has it.
 */
import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import {
  decodeBackend,
  decodeServiceKey,
  DEFAULT_AVOID,
  encodeBackend,
  encodeService,
  encodeServiceKey,
  encodeSlot,
  encodeSlotKey,
  NS_PER_S,
  formatEnd,
  SERVICE_KEY_SIZE,
  SLOT_KEY_SIZE,
  SLOT_SIZE,
  slotsOf,
  tableOfSlot,
  type Backend,
  type BackendCounts,
  type Service,
} from "../features/services.js";
import type { MapName } from "./contents.js";
import type { BpfMap } from "./maps.js";

type ServiceMapName = Extract<MapName, "services" | "service_slots" | "service_backends" | "service_misses">;

export interface ServiceMaps {
  map: (name: ServiceMapName) => BpfMap;
}

export const SERVICE_MAPS: readonly ServiceMapName[] = [
  "services",
  "service_slots",
  "service_backends",
  "service_misses",
];

/** ms after which no program looks at a table any more that a service has left. */
const GRACE = 1_000;
/** Entries that are written in one call. */
const AT_ONCE = 4_096;

interface Known {
  service: Service;
  draining: readonly Backend[];
  near: string;
  table: bigint;
  slots: number;
}

/** The half of a table's number that says whose it is. */
function ownerBits(set: bigint): bigint {
  return set & 0xffffffffn;
}

export class ServiceTable {
  private readonly known = new Map<string, Known>();
  /** By how many services each backend is had, by its text. */
  private readonly users = new Map<string, number>();
  private readonly old = new Map<bigint, { slots: number; left: number }>();
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly maps: ServiceMaps,
    private readonly set: bigint,
  ) {}

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
    for (const backend of [...service.backends, ...draining]) this.use(service, backend);
    const table = this.newTable();
    const all = slotsOf(service, service.backends);
    const first = slotsOf(service, close);
    this.writeSlots(
      table,
      [...all, ...first].map((slot) => encodeSlot(slot)),
    );
    this.maps
      .map("services")
      .update(encodeServiceKey(this.set, service), encodeService(service, table, all.length, first.length));
    this.known.set(text, { service, draining, near, table, slots: all.length + first.length });
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
  list(): { service: Service; draining: readonly Backend[] }[] {
    return [...this.known.values()];
  }

  /** What programs have counted of a backend of a service. */
  counts(service: Service, backend: Backend): BackendCounts | undefined {
    const value = this.maps.map("service_backends").lookup(this.backendKey(service, backend));
    return value && decodeBackend(value);
  }

  /** How often it had no backend. */
  misses(service: Service): bigint {
    const value = this.maps.map("service_misses").lookup(encodeServiceKey(this.set, service));
    return value ? (new BigUint64Array(value.slice().buffer)[0] ?? 0n) : 0n;
  }

  /** Removes what an earlier process has left in this set and this one has not. @returns whether a backend is gone */
  forgetOthers(): boolean {
    const tables = new Set([...[...this.known.values()].map(({ table }) => table), ...this.old.keys()]);
    let gone = false;
    for (const name of ["services", "service_backends", "service_misses"] as const) {
      const map = this.maps.map(name);
      for (const key of map.keys(SERVICE_KEY_SIZE)) {
        const at = decodeServiceKey(key);
        const text = formatEnd(at);
        const has = name === "service_backends" ? this.users.has(text) : this.known.has(text);
        if (at.set !== this.set || has) continue;
        map.delete(key);
        gone ||= name === "service_backends";
      }
    }
    this.forgetSlots((table) => tables.has(table));
    return gone;
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
    this.users.clear();
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

  private backendKey({ protocol }: Pick<Service, "protocol">, { address, port }: Backend): Uint8Array {
    return encodeServiceKey(this.set, { address, port, protocol });
  }

  private newTable(): bigint {
    return (ownerBits(this.set) << 32n) | BigInt(randomBytes(4).readUInt32LE());
  }

  private use(service: Service, backend: Backend): void {
    const text = formatEnd({ ...backend, protocol: service.protocol });
    this.users.set(text, (this.users.get(text) ?? 0) + 1);
    const map = this.maps.map("service_backends");
    const key = this.backendKey(service, backend);
    const value = map.lookup(key);
    const avoid = service.avoid ?? DEFAULT_AVOID;
    const there = value && decodeBackend(value);
    if (there?.avoid === avoid) return;
    // One that is avoided is so for no longer than the new time.
    const latest = process.hrtime.bigint() + BigInt(Math.round(avoid * NS_PER_S));
    if (there && there.avoidedUntil > latest) there.avoidedUntil = latest;
    map.update(key, encodeBackend(avoid, there));
  }

  private leave({ service, draining, table, slots }: Known): boolean {
    let gone = false;
    for (const backend of [...service.backends, ...draining]) {
      const text = formatEnd({ ...backend, protocol: service.protocol });
      const users = (this.users.get(text) ?? 1) - 1;
      if (users > 0) {
        this.users.set(text, users);
        continue;
      }
      this.users.delete(text);
      gone = this.maps.map("service_backends").delete(this.backendKey(service, backend)) || gone;
    }
    this.old.set(table, { slots, left: performance.now() });
    this.removeLater();
    return gone;
  }

  private removeLater(): void {
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      this.removeOld();
    }, GRACE).unref();
  }

  /** Tables that a service has left a while ago: those of the last moment stay until the next time. */
  private removeOld(): void {
    const map = this.maps.map("service_slots");
    for (const [table, { slots, left }] of this.old) {
      if (performance.now() - left < GRACE / 2) continue;
      for (let slot = 0; slot < slots; slot++) map.delete(encodeSlotKey(table, slot));
      this.old.delete(table);
    }
    if (this.old.size > 0) this.removeLater();
  }

  private writeSlots(table: bigint, values: readonly Uint8Array[]): void {
    const map = this.maps.map("service_slots");
    for (let begin = 0; begin < values.length; begin += AT_ONCE) {
      const part = values.slice(begin, begin + AT_ONCE);
      const keys = new Uint8Array(part.length * SLOT_KEY_SIZE);
      const all = new Uint8Array(part.length * SLOT_SIZE);
      part.forEach((value, i) => {
        keys.set(encodeSlotKey(table, begin + i), i * SLOT_KEY_SIZE);
        all.set(value, i * SLOT_SIZE);
      });
      map.updateBatch(keys, all, part.length);
    }
  }
}

/** Takes a set out of the kernel that no process looks after. */
export function forgetServices(maps: ServiceMaps, set: bigint): void {
  new ServiceTable(maps, set).clear();
}
