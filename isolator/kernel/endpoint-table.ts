/**
 * The endpoints as the programs see them: one set of endpoints and one of blocks is in use, and a whole other one takes
 * its place by one write of one byte.
 *
 * A set of a million endpoints takes about 130 MB of the kernel's memory, 96 bytes an endpoint and 16 a bucket of the
 * hash; while another one is being built, both are there.
 */
import { IsolatorError } from "../errors.js";
import { u32Key } from "./codec.js";
import type { MapName } from "./contents.js";
import { EndpointSet, openSlot, word, type EndpointMaps } from "./endpoint-set.js";
import { layouts } from "./gen/layout.js";
import { BpfMap } from "./maps.js";
import { errnoName, libbpf, libc } from "./native.js";
import { openMapsOf } from "./pins.js";

const KEY_SIZE = layouts.structs.endpoint_key.size;
const BLOCK_SIZE = layouts.structs.address_block.size;
const VALUE_SIZE = layouts.structs.class_set.size;
const STATE = layouts.structs.endpoint_state;
const CURRENT = layouts.enums.endpoint_current;

const FIRST = u32Key(0);

/** Entries of a hash map that are read in one call; more than a bucket has. */
const READ_AT_ONCE = 4096;
const ENOENT = 2;

/** Keys and values of a hash map. @throws map-failed */
function* readHash(fd: number): Generator<[key: Uint8Array, value: Uint8Array]> {
  const keys = new Uint8Array(READ_AT_ONCE * KEY_SIZE);
  const values = new Uint8Array(READ_AT_ONCE * VALUE_SIZE);
  const token = new Uint8Array(8);
  for (let first = true, more = true; more; first = false) {
    const count = new Uint8Array(new Uint32Array([READ_AT_ONCE]).buffer);
    const next = new Uint8Array(8);
    const result = libbpf().mapLookupBatch(fd, first ? null : token, next, keys, values, count, null);
    more = result !== -ENOENT;
    if (result < 0 && more)
      throw new IsolatorError("map-failed", `endpoints cannot be read: ${errnoName(result)}`);
    token.set(next);
    for (let i = 0; i < word(count); i++)
      yield [
        keys.slice(i * KEY_SIZE, (i + 1) * KEY_SIZE),
        values.slice(i * VALUE_SIZE, (i + 1) * VALUE_SIZE),
      ];
  }
}

/** Keys and values of an LPM trie. */
function* readTrie(fd: number): Generator<[key: Uint8Array, value: Uint8Array]> {
  const map = new BpfMap("endpoint_block", fd, VALUE_SIZE);
  let key: Uint8Array | null = null;
  for (;;) {
    const next = new Uint8Array(BLOCK_SIZE);
    if (libbpf().mapNextKey(fd, key, next) < 0) return;
    const value = map.lookup(next);
    if (value) yield [next, value];
    key = next;
  }
}

const CARRIED = ["endpoint_states", "endpoint_sets", "endpoint_blocks", "host_addresses"] as const;

/**
 * Makes the endpoints that other maps have in use those of these maps too: the same sets, not copies. What is there already
 * stays.
 */
export function shareEndpoints(from: EndpointMaps, to: EndpointMaps): void {
  const state = from.map("endpoint_states").lookup(FIRST);
  const current = state?.[STATE.fields.current.offset] ?? 0;
  const own = to.map("endpoint_states").lookup(FIRST)?.[STATE.fields.current.offset] ?? 0;
  if (!state || current === 0 || own !== 0) return;
  const slot = u32Key(current & CURRENT.ENDPOINTS_SLOT);
  for (const name of ["endpoint_sets", "endpoint_blocks"] as const) {
    const fd = openSlot(from.map(name), slot);
    if (fd === undefined) continue;
    try {
      to.map(name).update(slot, u32Key(fd));
    } finally {
      libc().close(fd);
    }
  }
  const addresses = from.map("host_addresses");
  for (const key of addresses.keys(BLOCK_SIZE)) to.map("host_addresses").update(key, u32Key(1));
  // Last: from now on programs look there.
  to.map("endpoint_states").update(FIRST, state);
}

/**
 * The same from what another build has pinned, before any of its containers is under these programs.
 * @returns false where that has other layouts of them
 */
export function takeEndpoints(instance: string, build: string, to: EndpointMaps): boolean {
  const structs = ["endpoint_state", "endpoint_key", "address_block", "class_set"] as const;
  const maps = openMapsOf(instance, build, CARRIED, structs);
  if (!maps) return false;
  try {
    shareEndpoints(
      {
        map: (name) => {
          const map = (maps as ReadonlyMap<MapName, BpfMap>).get(name);
          if (!map) throw new Error(`no map ${name}`);
          return map;
        },
      },
      to,
    );
    return true;
  } finally {
    for (const map of maps.values()) map.close();
  }
}

export class EndpointTable {
  private live: EndpointSet | undefined;
  private current: number;

  constructor(private readonly maps: EndpointMaps) {
    this.current = this.read()[STATE.fields.current.offset] ?? 0;
  }

  private read(): Uint8Array {
    return this.maps.map("endpoint_states").lookup(FIRST) ?? new Uint8Array(STATE.size);
  }

  private write(change: (state: Uint8Array) => void): void {
    const state = this.read();
    change(state);
    state[STATE.fields.current.offset] = this.current;
    this.maps.map("endpoint_states").update(FIRST, state);
  }

  /** The set in use, if this process has made it: what an earlier one has left is only replaced. */
  get set(): EndpointSet | undefined {
    return this.live;
  }

  /**
   * What an earlier process has left in use: keys of endpoints, or of blocks, with their classes' ids.
   * @throws map-failed
   */
  *left(): Generator<{ key: Uint8Array; block: boolean; ids: readonly number[] }> {
    const slot = u32Key(this.current & CURRENT.ENDPOINTS_SLOT);
    for (const name of ["endpoint_sets", "endpoint_blocks"] as const) {
      const fd = openSlot(this.maps.map(name), slot);
      if (fd === undefined) continue;
      try {
        const block = name === "endpoint_blocks";
        for (const [key, value] of block ? readTrie(fd) : readHash(fd))
          yield { key, block, ids: [...new Uint32Array(value.slice().buffer)] };
      } finally {
        libc().close(fd);
      }
    }
  }

  /** Makes another set the one in use: programs see all of the old one or all of the new one. @throws map-failed */
  use(next: EndpointSet): void {
    const slot = (this.current & CURRENT.ENDPOINTS_SLOT) ^ 1;
    next.placeIn(this.maps, slot);
    const before = this.live;
    this.live = next;
    next.useIn(this.maps.map("endpoint_sets").epoch);
    this.current = (this.current & CURRENT.ENDPOINTS_HOST) | next.kinds | slot;
    this.write(() => undefined);
    before?.close();
    // Programs may have read the old state and not yet the slot that it names: a write to a map of maps returns when all
    // that ran have ended (maybe_wait_bpf_programs() in kernel/bpf/syscall.c).
    next.placeIn(this.maps, slot);
    this.clear(slot ^ 1);
  }

  /** Lets the kernel free what a slot had. */
  private clear(slot: number): void {
    this.maps.map("endpoint_sets").delete(u32Key(slot));
    this.maps.map("endpoint_blocks").delete(u32Key(slot));
  }

  /** Makes several changes of the set in use, of which programs need not see each. */
  change(make: () => void): void {
    this.maps.map("endpoint_states").change(make);
  }

  /** To be called after entries were put into the set in use, and before such ones of a new kind count. */
  showKinds(): void {
    const kinds = this.live?.kinds ?? 0;
    if ((this.current & kinds) === kinds) return;
    this.current |= kinds;
    this.write(() => undefined);
  }

  /** The address by which the cluster knows this host. @param address 16 bytes; undefined: not known */
  setHost(address: Uint8Array | undefined): void {
    if (address) this.current |= CURRENT.ENDPOINTS_HOST;
    else this.current &= ~CURRENT.ENDPOINTS_HOST;
    this.write((state) => {
      state.set(address ?? new Uint8Array(16), STATE.fields.host.offset);
    });
  }

  /** Closes the file descriptors; what is in use stays. */
  close(): void {
    this.live?.close();
    this.live = undefined;
  }
}
