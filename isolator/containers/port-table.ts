/** The machine's ports and their owners: the map port_owners, with claims checked. */
import { IsolatorError } from "../errors.js";
import { formatPorts, listPorts, mergeRanges, type PortRange } from "../features/ports.js";
import { decode, encode, u32Key } from "../kernel/codec.js";
import { layouts } from "../kernel/gen/layout.js";
import type { BpfMap } from "../kernel/maps.js";

/** cgroup ids from the root container down to the owner; empty: nobody. */
export type Chain = readonly bigint[];

/** Levels of nesting that the programs know (LEVELS in bpf/layout.h). */
export const LEVELS: number = layouts.structs.port_owner.fields.chain.count;

const NOBODY: Chain = [];

function formatList(ports: readonly number[]): string {
  return formatPorts(mergeRanges(ports.map((port) => ({ begin: port, end: port }))));
}

function equal(a: Chain, b: Chain): boolean {
  return a.length === b.length && a.every((id, i) => id === b[i]);
}

export class PortTable {
  constructor(private readonly map: BpfMap) {}

  ownerOf(port: number): Chain {
    const value = this.map.lookup(u32Key(port));
    return value ? decode(layouts.structs.port_owner, value).chain.filter((id) => id !== 0n) : NOBODY;
  }

  /**
   * Makes a container the owner of ports that are nobody's, its own, or its parent's own.
   * @param chain of the container
   * @param nameOf name of the living container with this cgroup id; undefined: dead, so its ports are taken over
   * @throws port-owned, and then nothing has changed
   */
  claim(ports: readonly PortRange[], chain: Chain, nameOf: (cgroupId: bigint) => string | undefined): void {
    const parent = chain.slice(0, -1);
    const taken = new Map<string, number[]>();
    const strange: number[] = [];
    const names = new Map<bigint, string | undefined>();
    const cachedName = (id: bigint): string | undefined => {
      if (!names.has(id)) names.set(id, nameOf(id));
      return names.get(id);
    };
    for (const port of listPorts(ports)) {
      const owner = this.ownerOf(port);
      if (equal(owner, chain) || equal(owner, parent)) continue;
      const name = owner.length > 0 ? cachedName(owner.at(-1) ?? 0n) : undefined;
      if (name !== undefined) taken.set(name, [...(taken.get(name) ?? []), port]);
      else if (parent.length > 0) strange.push(port);
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
    this.write(listPorts(ports), chain);
  }

  /** Gives back those of the ports that the container owns: to its parent where that has them too, else to nobody. */
  release(ports: readonly PortRange[], chain: Chain, parentPorts: readonly PortRange[] = []): void {
    const owned = listPorts(ports).filter((port) => equal(this.ownerOf(port), chain));
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
    const value = encode(layouts.structs.port_owner, { chain: [...chain] });
    const keys = new Uint8Array(new Uint32Array(ports).buffer);
    this.map.updateBatch(keys, Buffer.concat(ports.map(() => value)), ports.length);
  }
}
