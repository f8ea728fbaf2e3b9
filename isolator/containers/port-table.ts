/** The machine's ports and their owners: the maps port_owners and port_bounds, with claims checked. */
import { IsolatorError } from "../errors.js";
import { formatPorts, listPorts, mergeRanges, type PortRange } from "../features/ports.js";
import { decode, encode, u32Key } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import type { BpfMap } from "../kernel/maps.js";

/** cgroup ids from the root container down to the owner; empty: nobody. */
export type Chain = readonly bigint[];

/** Levels of nesting that the programs know (LEVELS in bpf/layout/levels.h). */
export const LEVELS: number = layouts.structs.port_owner.fields.chain.count;

const NOBODY: Chain = [];
const PORTS = 65536;

/** A struct port_owner is its chain and nothing else. */
function toChain(words: BigUint64Array): Chain {
  return [...words].filter((id) => id !== 0n);
}

function rangesOf(ports: readonly number[]): PortRange[] {
  return mergeRanges(ports.map((port) => ({ begin: port, end: port })));
}

function formatList(ports: readonly number[]): string {
  return formatPorts(rangesOf(ports));
}

function equal(a: Chain, b: Chain): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

export class PortTable {
  /** @param bounds the map port_bounds; without, the table is for reading and for giving back */
  constructor(
    private readonly map: BpfMap,
    private readonly bounds?: BpfMap,
  ) {}

  /** Each of some ports, with its owner. */
  private *ownersOf(ports: readonly PortRange[]): Generator<[port: number, owner: Chain]> {
    for (const { begin, end } of mergeRanges(ports)) {
      const words = new BigUint64Array(this.map.lookupRange(begin, end - begin + 1).buffer);
      for (let port = begin; port <= end; port++) {
        const first = (port - begin) * LEVELS;
        yield [port, toChain(words.subarray(first, first + LEVELS))];
      }
    }
  }

  /**
   * Makes a container the owner of ports: examine() and then the change.
   * @returns ports that were taken over, by the cgroup id of their dead owner
   * @throws port-owned, and then nothing has changed
   */
  claim(
    ports: readonly PortRange[],
    chain: Chain,
    nameOf: (cgroupId: bigint) => string | undefined,
  ): Map<bigint, PortRange[]> {
    const { own, takenOver } = this.examine(ports, chain, nameOf);
    this.write(own, chain);
    return takenOver;
  }

  /**
   * Whether a container may own ports: those that are nobody's, its own, or its parent's own.
   * @param chain of the container
   * Ports that containers nested in it own already stay theirs.
   * @param nameOf name of the living container with this cgroup id; undefined: dead, so its ports are taken over
   * @returns ports to write, and those of them that are taken over, by the cgroup id of their dead owner
   * @throws port-owned
   */
  examine(
    ports: readonly PortRange[],
    chain: Chain,
    nameOf: (cgroupId: bigint) => string | undefined,
  ): { own: number[]; takenOver: Map<bigint, PortRange[]> } {
    const parent = chain.slice(0, -1);
    const own: number[] = [];
    const takenOver = new Map<bigint, number[]>();
    const taken = new Map<string, number[]>();
    const strange: number[] = [];
    const names = new Map<bigint, string | undefined>();
    const cachedName = (id: bigint): string | undefined => {
      if (!names.has(id)) names.set(id, nameOf(id));
      return names.get(id);
    };
    for (const [port, owner] of this.ownersOf(ports)) {
      const isNested = owner.length > chain.length && equal(owner.slice(0, chain.length), chain);
      const holder = owner.at(-1);
      const name = holder === undefined ? undefined : cachedName(holder);
      if (isNested && name !== undefined) continue;
      own.push(port);
      if (isNested || equal(owner, chain) || equal(owner, parent)) continue;
      if (name !== undefined) taken.set(name, [...(taken.get(name) ?? []), port]);
      else if (parent.length > 0) strange.push(port);
      else if (holder !== undefined) takenOver.set(holder, [...(takenOver.get(holder) ?? []), port]);
    }
    if (taken.size > 0) {
      const list = [...taken].map(([name, owned]) => `${formatList(owned)} of container ${name}`);
      throw new IsolatorError(
        "port-owned",
        `ports belong to a container that is running: ${list.join("; ")}. Give other ports, or end that one`,
      );
    }
    if (strange.length > 0) {
      const name = nameOf(parent.at(-1) ?? 0n) ?? "that is gone";
      throw new IsolatorError(
        "port-owned",
        `ports ${formatList(strange)} of a nested container are not among those of its parent ${name}, ` +
          "whose policy holds for it too. Give them to the parent first",
      );
    }
    return { own, takenOver: new Map([...takenOver].map(([id, list]) => [id, rangesOf(list)])) };
  }

  /** Every port that has an owner. */
  private *owned(): Generator<[port: number, owner: Chain]> {
    const { first, last } = this.readBounds() ?? { first: 0, last: PORTS - 1 };
    const words = new BigUint64Array(this.map.lookupRange(first, last - first + 1).buffer);
    // A root's id comes first: where that is 0 the port is nobody's, as nearly all are.
    for (let at = 0; at < words.length; at += LEVELS) {
      if (words[at] === 0n) continue;
      yield [first + at / LEVELS, toChain(words.subarray(at, at + LEVELS))];
    }
  }

  /** No port outside has an owner; both are 0 where none has. */
  private readBounds(): { first: number; last: number } | undefined {
    const value = this.bounds?.lookup(u32Key(0));
    return value && decode(layouts.structs.port_bounds, value);
  }

  /** The owner of one port. */
  ownerOf(port: number): Chain {
    const value = this.map.lookup(u32Key(port));
    return value ? toChain(new BigUint64Array(value.slice().buffer)) : NOBODY;
  }

  /** Ports whose owner is the container with this cgroup id. */
  ownedBy(cgroupId: bigint): PortRange[] {
    return rangesOf([...this.owned()].filter(([, owner]) => owner.at(-1) === cgroupId).map(([port]) => port));
  }

  /**
   * Makes the whole table say what the records say: for a daemon that starts. Ports of owners that it does not know about
   * stay.
   * @param desired chain of the owner of each port that is owned
   * @param isForeign whether this cgroup id is of a container that is somebody else's business
   * @returns how many ports were wrong
   */
  rebuild(desired: ReadonlyMap<number, Chain>, isForeign: (cgroupId: bigint) => boolean): number {
    const wrong = new Map<string, { chain: Chain; ports: number[] }>();
    const owned = new Map(this.owned());
    const right: number[] = [];
    for (const port of new Set([...owned.keys(), ...desired.keys()])) {
      const owner = owned.get(port) ?? NOBODY;
      const chain = desired.get(port) ?? NOBODY;
      const stays = chain.length === 0 && isForeign(owner.at(-1) ?? 0n);
      if (chain.length > 0 || stays) right.push(port);
      if (equal(owner, chain) || stays) continue;
      const group = wrong.get(chain.join()) ?? { chain, ports: [] };
      group.ports.push(port);
      wrong.set(chain.join(), group);
    }
    for (const { chain, ports } of wrong.values()) this.write(ports, chain);
    this.writeBounds(right);
    return [...wrong.values()].reduce((total, { ports }) => total + ports.length, 0);
  }

  /** Gives back those of the ports that the container owns: to its parent where that has them too, else to nobody. */
  release(ports: readonly PortRange[], chain: Chain, parentPorts: readonly PortRange[] = []): void {
    const owned = [...this.ownersOf(ports)].filter(([, owner]) => equal(owner, chain)).map(([port]) => port);
    const parents = new Set(listPorts(parentPorts));
    this.write(
      owned.filter((port) => parents.has(port)),
      chain.slice(0, -1),
    );
    this.write(
      owned.filter((port) => !parents.has(port)),
      NOBODY,
    );
  }

  private write(ports: number[], chain: Chain): void {
    if (chain.length > 0) this.widen(ports);
    const value = encode(layouts.structs.port_owner, { chain: [...chain] });
    const keys = new Uint8Array(new Uint32Array(ports).buffer);
    this.map.updateBatch(keys, Buffer.concat(ports.map(() => value)), ports.length);
  }

  /** Under the instance's lock, as all changes: no other process widens at the same time. */
  private widen(ports: readonly number[]): void {
    const bounds = this.readBounds();
    if (!bounds || ports.length === 0) return;
    const { first, last } = bounds;
    const known = last === 0 ? [] : [first, last];
    if (known.length === 0 || ports.some((port) => port < first || port > last))
      this.writeBounds([...known, ...ports]);
  }

  private writeBounds(ports: readonly number[]): void {
    const first = ports.reduce((a, b) => Math.min(a, b), 65536);
    const last = ports.reduce((a, b) => Math.max(a, b), 0);
    this.bounds?.update(
      u32Key(0),
      encode(layouts.structs.port_bounds, { first: last === 0 ? 0 : first, last }),
    );
  }
}
