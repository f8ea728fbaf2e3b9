/**
 * The addresses of this host, by the kernel's own tables of local routes: also those of interfaces that are down or have
 * no carrier, of bridges, and of blocks that are routed here. Looked at every second, since a program that connects may
 * use any of them.
 */
import { readFileSync } from "node:fs";
import { parseAddress } from "../features/addresses.js";
import {
  blockKey,
  BLOCK_SIZE,
  encodeBlock,
  keyFromBytes,
  placeOf,
  type PlaceKey,
} from "../features/endpoints.js";
import { u32Key } from "../kernel/codec.js";
import type { BpfMap } from "../kernel/maps.js";

/** ms between two looks. */
const LOOK = 1_000;
/** RTF_LOCAL of include/uapi/linux/ipv6_route.h */
const LOCAL_ROUTE = 0x80000000;
/** Bits before an IPv4 address in a v4-mapped one. */
const MAPPED_BITS = 96;
const PRESENT = u32Key(1);

/** @param text of /proc/net/fib_trie */
export function localBlocksV4(text: string): PlaceKey[] {
  let address: Uint8Array | undefined;
  const found = new Set<PlaceKey>();
  for (const line of text.split("\n")) {
    const leaf = /\|-- (\S+)/.exec(line)?.[1];
    if (leaf !== undefined) address = parseAddress(leaf);
    const prefix = /^\s*\/(\d+) \S+ LOCAL/.exec(line)?.[1];
    if (prefix !== undefined && address) found.add(blockKey(address, MAPPED_BITS + Number(prefix)));
  }
  return [...found];
}

/** @param text of /proc/net/ipv6_route */
export function localBlocksV6(text: string): PlaceKey[] {
  return text.split("\n").flatMap((line) => {
    const fields = line.trim().split(/\s+/);
    const [address = "", prefix = "", , , , , , , flags = "0"] = fields;
    if (address.length !== 32 || parseInt(flags, 16) < LOCAL_ROUTE) return [];
    return [blockKey(Buffer.from(address, "hex"), parseInt(prefix, 16))];
  });
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // A kernel without IPv6.
    return "";
  }
}

export class HostAddresses {
  private readonly timer: NodeJS.Timeout;
  private seen = "";
  private known = new Set<PlaceKey>();

  /** @param map host_addresses */
  constructor(private readonly map: BpfMap) {
    // An earlier process may have written what is no more.
    this.known = new Set(this.written());
    this.look();
    this.timer = setInterval(() => {
      this.look();
    }, LOOK).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Texts of all that there are. */
  list(): string[] {
    return [...this.known].map((key) => placeOf(key).address);
  }

  /** Whether an address is this host's: by whole addresses, not by blocks that are routed here. */
  has(address: string): boolean {
    const bytes = parseAddress(address);
    return bytes !== undefined && this.known.has(blockKey(bytes, 128));
  }

  private look(): void {
    const texts = [read("/proc/net/fib_trie"), read("/proc/net/ipv6_route")] as const;
    const all = texts.join();
    if (all === this.seen) return;
    this.seen = all;
    const next = new Set([...localBlocksV4(texts[0]), ...localBlocksV6(texts[1])]);
    const come = [...next].filter((key) => !this.known.has(key));
    const gone = [...this.known].filter((key) => !next.has(key));
    // The texts count uses of routes too: most differences are none.
    if (come.length + gone.length === 0) return;
    this.map.change(() => {
      for (const key of come) this.map.update(encodeBlock(key), PRESENT);
      for (const key of gone) this.map.delete(encodeBlock(key));
    });
    this.known = next;
  }

  private written(): PlaceKey[] {
    return this.map.keys(BLOCK_SIZE).map((bytes) => keyFromBytes(bytes, true));
  }
}
