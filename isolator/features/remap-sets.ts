/**
 * The map port_remaps: an array that is filled as a hash table, since a look into a table of the kernel's takes a bind()
 * too long. A port of a container is in one of two sets, so that many can be full before one finds both so.
 */
import { IsolatorError } from "../errors.js";
import { layouts } from "../kernel/gen/layout.js";
import { REMAP_PROTOCOLS, type PortMapping } from "./remap.js";

const { remap_way: ways, remap_sizes: sizes } = layouts.enums;
const { fields } = layouts.structs.port_remap_set;
const SET_BYTES: number = layouts.structs.port_remap_set.size;

/** What one port of a container is. */
export interface RemapEntry {
  cgroupId: bigint;
  port: number;
  /** enum remap_way */
  way: number;
  /** 0: no mapping. */
  tcp: number;
  udp: number;
}

/** All that mappings make of a container's ports, both ways. */
export function remapEntries(mappings: readonly PortMapping[], cgroupId: bigint): RemapEntry[] {
  const entries = new Map<number, RemapEntry>();
  for (const { containerPort, hostPort, protocol } of mappings) {
    for (const [way, port, result] of [
      [ways.REMAP_TO_HOST, containerPort, hostPort],
      [ways.REMAP_TO_CONTAINER, hostPort, containerPort],
    ] as const) {
      const entry = entries.get((port << 1) | way) ?? { cgroupId, port, way, tcp: 0, udp: 0 };
      for (const each of protocol === undefined ? REMAP_PROTOCOLS : [protocol]) entry[each] = result;
      entries.set((port << 1) | way, entry);
    }
  }
  return [...entries.values()];
}

/** The mappings of entries, one for each protocol. */
export function mappingsOfEntries(entries: readonly RemapEntry[]): PortMapping[] {
  return entries
    .filter(({ way }) => way === ways.REMAP_TO_HOST)
    .flatMap((entry) =>
      REMAP_PROTOCOLS.filter((protocol) => entry[protocol] !== 0).map((protocol) => ({
        containerPort: entry.port,
        hostPort: entry[protocol],
        protocol,
      })),
    );
}

/** As look_up_remap() in bpf/remap.h. */
function setsFor({ cgroupId, port, way }: RemapEntry): [first: number, second: number] {
  const id = Number(BigInt.asUintN(32, cgroupId));
  const hash = (Math.imul(id, sizes.REMAP_ID_FACTOR) + ((port << 1) | way)) | 0;
  const set = (factor: number): number => Math.imul(hash, factor) >>> sizes.REMAP_SETS_SHIFT;
  return [set(sizes.REMAP_FIRST_FACTOR), set(sizes.REMAP_SECOND_FACTOR)];
}

/** A value of the map. */
class RemapSet {
  private readonly ids: BigUint64Array;
  private readonly numbers: Record<"port" | "tcp" | "udp", Uint16Array>;
  private readonly ways: Uint8Array;

  /** @param bytes are written to; `at` is a multiple of 8 */
  constructor(bytes: Uint8Array<ArrayBuffer>, at: number) {
    const words = (field: { offset: number }): Uint16Array =>
      new Uint16Array(bytes.buffer, at + field.offset, sizes.REMAP_PLACES);
    this.ids = new BigUint64Array(bytes.buffer, at + fields.cgroup_id.offset, sizes.REMAP_PLACES);
    this.numbers = { port: words(fields.port), tcp: words(fields.tcp), udp: words(fields.udp) };
    this.ways = new Uint8Array(bytes.buffer, at + fields.way.offset, sizes.REMAP_PLACES);
  }

  /** The place of an entry; -1: it is not here. */
  find({ cgroupId, port, way }: RemapEntry): number {
    return this.ids.findIndex(
      (id, i) => id === cgroupId && this.numbers.port[i] === port && this.ways[i] === way,
    );
  }

  get free(): number {
    return this.ids.filter((id) => id === 0n).length;
  }

  /** @param place of the entry; -1: a free one */
  put(entry: RemapEntry, place: number): void {
    const i = place < 0 ? this.ids.indexOf(0n) : place;
    this.ids[i] = entry.cgroupId;
    for (const name of ["port", "tcp", "udp"] as const) this.numbers[name][i] = entry[name];
    this.ways[i] = entry.way;
  }

  remove(place: number): void {
    this.put({ cgroupId: 0n, port: 0, way: 0, tcp: 0, udp: 0 }, place);
  }

  entries(): RemapEntry[] {
    return [...this.ids].flatMap((cgroupId, i) => {
      if (cgroupId === 0n) return [];
      const { port, tcp, udp } = this.numbers;
      return [{ cgroupId, port: port[i] ?? 0, way: this.ways[i] ?? 0, tcp: tcp[i] ?? 0, udp: udp[i] ?? 0 }];
    });
  }
}

/** Changes of the map, put together before they are written. */
export class RemapChanges {
  private readonly changed = new Map<number, Uint8Array<ArrayBuffer>>();

  /** @param read the value of a key, in memory of its own */
  constructor(private readonly read: (index: number) => Uint8Array<ArrayBuffer>) {}

  private set(index: number): RemapSet {
    let bytes = this.changed.get(index);
    if (!bytes) this.changed.set(index, (bytes = this.read(index)));
    return new RemapSet(bytes, 0);
  }

  /** @throws map-full where both of its sets are */
  put(entry: RemapEntry): void {
    const [first, second] = setsFor(entry).map((index) => this.set(index)) as [RemapSet, RemapSet];
    const [inFirst, inSecond] = [first.find(entry), second.find(entry)];
    if (inFirst >= 0) first.put(entry, inFirst);
    else if (inSecond >= 0) second.put(entry, inSecond);
    else if (first.free >= Math.max(1, Math.min(second.free, sizes.REMAP_PLACES / 2))) first.put(entry, -1);
    else if (second.free > 0) second.put(entry, -1);
    else {
      throw new IsolatorError(
        "map-full",
        "the BPF map port_remaps has no room for another port mapping: too many containers on this machine have some. " +
          "End some, or use another --instance",
      );
    }
  }

  remove(entry: RemapEntry): void {
    for (const index of setsFor(entry)) {
      const set = this.set(index);
      const place = set.find(entry);
      if (place >= 0) set.remove(place);
    }
  }

  /** Keys and values of all that was looked at, as BpfMap.updateBatch() takes them. */
  get batch(): [keys: Uint8Array, values: Uint8Array, count: number] {
    const keys = new Uint8Array(new Uint32Array([...this.changed.keys()]).buffer);
    return [keys, Buffer.concat([...this.changed.values()]), this.changed.size];
  }
}

/** All entries of the map. @param values of the whole map, one after another */
export function readRemapEntries(values: Uint8Array<ArrayBuffer>): RemapEntry[] {
  const words = new Uint32Array(values.buffer, 0, values.length / 4);
  const entries: RemapEntry[] = [];
  for (let at = 0; at < words.length; at += SET_BYTES / 4) {
    // Ids come first, of two words each; nearly all sets are empty.
    let any = 0;
    for (let i = 0; i < 2 * sizes.REMAP_PLACES; i++) any |= words[at + i] ?? 0;
    if (any !== 0) entries.push(...new RemapSet(values, at * 4).entries());
  }
  return entries;
}
