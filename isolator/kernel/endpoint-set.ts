/** A set of endpoints and one of blocks, as maps of the kernel: filled, then in use (endpoint-table.ts). */
import { IsolatorError } from "../errors.js";
import { LITTLE, u32Key } from "./codec.js";
import type { MapName } from "./contents.js";
import type { Epoch } from "./epoch.js";
import { layouts } from "./gen/layout.js";
import { BpfMap } from "./maps.js";
import { errnoName, libbpf } from "./native.js";

/** enum bpf_map_type */
const HASH = 1;
const LPM_TRIE = 11;
const NO_PREALLOC = 1;
/** struct bpf_map_create_opts of libbpf 1.x: its size, and where map_flags is. */
const CREATE_OPTS = 48;
const CREATE_FLAGS = 28;

const KEY_SIZE = layouts.structs.endpoint_key.size;
const BLOCK_SIZE = layouts.structs.address_block.size;
const VALUE_SIZE = layouts.structs.class_set.size;
const CURRENT = layouts.enums.endpoint_current;

/** Entries that the smallest set has room for. */
const SMALLEST = 1024;
/** Blocks of addresses; each costs time in every look-up that comes to them. */
export const MAX_BLOCKS = 65_536;

/** The maps of programs that are loaded. */
export interface EndpointMaps {
  map: (name: MapName) => BpfMap;
}

/** What kind of entry a key is, as programs look for them; "block" has a key of its own kind. */
export type EntryKind = "exact" | "port" | "address" | "block";

const KIND_BITS: Readonly<Record<EntryKind, number>> = {
  exact: CURRENT.ENDPOINTS_EXACT,
  port: CURRENT.ENDPOINTS_PORT,
  address: CURRENT.ENDPOINTS_ADDRESS,
  block: CURRENT.ENDPOINTS_BLOCKS,
};

/** By the key of a set's map. */
export function kindOf(key: Uint8Array): Exclude<EntryKind, "block"> {
  const { port, protocol } = layouts.structs.endpoint_key.fields;
  if (key[protocol.offset] !== 0) return "exact";
  return key[port.offset] === 0 && key[port.offset + 1] === 0 ? "address" : "port";
}

function create(type: number, name: string, key: number, entries: number): BpfMap {
  const opts = new Uint8Array(CREATE_OPTS);
  const view = new DataView(opts.buffer);
  view.setBigUint64(0, BigInt(CREATE_OPTS), LITTLE);
  view.setUint32(CREATE_FLAGS, NO_PREALLOC, LITTLE);
  const fd = libbpf().mapCreate(type, name, key, VALUE_SIZE, entries, opts);
  if (fd < 0)
    throw new IsolatorError("map-failed", `a set of ${entries} endpoints cannot be made: ${errnoName(fd)}`);
  return new BpfMap(name, fd, VALUE_SIZE);
}

/** The first four bytes as a number. */
export function word(bytes: Uint8Array | undefined): number {
  return bytes ? (new Uint32Array(bytes.slice().buffer)[0] ?? 0) : 0;
}

/** The map that a map of maps has in a slot: a file descriptor of the caller's, or undefined where there is none. */
export function openSlot(maps: BpfMap, slot: Uint8Array): number | undefined {
  const id = word(maps.lookup(slot));
  const fd = id === 0 ? -1 : libbpf().mapById(id);
  return fd < 0 ? undefined : fd;
}

/** A set that is filled or in use. */
export class EndpointSet {
  private used = 0;

  private constructor(
    private readonly endpoints: BpfMap,
    private readonly blocks: BpfMap,
    /** Endpoints that it has room for. */
    readonly capacity: number,
  ) {}

  /** @param entries that it is to have at first; it has room for half as many more @throws map-failed */
  static create(entries: number): EndpointSet {
    const wanted = Math.max(SMALLEST, Math.ceil(entries * 1.5));
    const endpoints = create(HASH, "endpoint_set", KEY_SIZE, wanted);
    try {
      return new EndpointSet(endpoints, create(LPM_TRIE, "endpoint_block", BLOCK_SIZE, MAX_BLOCKS), wanted);
    } catch (error) {
      endpoints.close();
      throw error;
    }
  }

  /** Bits of enum endpoint_current for what has been put in. */
  get kinds(): number {
    return this.used;
  }

  noteKind(kind: EntryKind): void {
    this.used |= KIND_BITS[kind];
  }

  /**
   * @param keys of the kernel's size, one after another; their kinds have been noted
   * @throws map-full, map-failed
   */
  put(keys: Uint8Array, values: Uint8Array, count: number): void {
    this.endpoints.updateBatch(keys, values, count);
  }

  remove(key: Uint8Array): void {
    this.endpoints.delete(key);
  }

  putBlock(key: Uint8Array, value: Uint8Array): void {
    this.noteKind("block");
    this.blocks.update(key, value);
  }

  removeBlock(key: Uint8Array): void {
    this.blocks.delete(key);
  }

  /** From now on programs look there. */
  useIn(epoch: Epoch | undefined): void {
    this.endpoints.epoch = this.blocks.epoch = epoch;
  }

  /** Makes it the kernel's for a slot. */
  placeIn(maps: EndpointMaps, slot: number): void {
    maps.map("endpoint_sets").update(u32Key(slot), u32Key(this.endpoints.fd));
    maps.map("endpoint_blocks").update(u32Key(slot), u32Key(this.blocks.fd));
  }

  close(): void {
    this.endpoints.close();
    this.blocks.close();
  }
}
