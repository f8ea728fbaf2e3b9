/**
 * What an instance's containers hold at one moment, read from the pinned maps: with or without a daemon, and whoever
 * made the containers. Which share that is of the ports that the kernel has to choose from is the host's view.
 */
import { readFileSync } from "node:fs";
import { subtractRanges } from "../features/ports.js";
import {
  parseLocalRange,
  parseReserved,
  RANGE_SETTING,
  RESERVED_SETTING,
} from "../features/reserved-ports.js";
import type { DestinationShare, HeldConnections, HeldDestination } from "../features/connections.js";
import type { Policy } from "../features/policy.js";
import type { BpfMap } from "../kernel/maps.js";
import { buildId } from "../kernel/object.js";
import { openPinnedMap } from "../kernel/pins.js";
import { readConnections, readDestinations } from "./connections.js";

/** What of a container must be known: a record has it. */
export interface Counted {
  /** cgroup ids from the root container down to this one. */
  chain: readonly (bigint | string)[];
  policy: Policy;
}

/** A destination with what all containers together hold to it. */
export interface HostDestination {
  protocol: string;
  address: string;
  port: number;
  held: number;
  containers: number;
  /** Of the host's ephemeral ports, 0 to 1; more where several sockets share one. */
  share: number;
}

/** What a container may have of a destination while the host has plenty. @param ports that the kernel has to choose from */
export function fairShare(ports: number): number {
  return Math.max(1, Math.floor(ports / 2));
}

/**
 * What a container may have of those destinations of which less than its fair share is left: as many as are left. So each
 * newcomer finds some, however many the others hold, and who holds more than that gets no more.
 */
export function fairShares(host: readonly HostDestination[], ports: number): DestinationShare[] {
  return host
    .map(({ protocol, address, port, held }) => ({
      protocol,
      address,
      port,
      limit: Math.max(1, ports - held),
    }))
    .filter(({ limit }) => limit < fairShare(ports))
    .sort((a, b) => a.limit - b.limit);
}

const idOf = ({ chain }: Counted): bigint => BigInt(chain.at(-1) ?? 0);

/** How many ports the kernel has to choose from. @throws where /proc cannot be read */
export function ephemeralPorts(): number {
  const setting = (name: string): string =>
    readFileSync(`/proc/sys/${name.replaceAll(".", "/")}`, "utf8").trim();
  const range = parseLocalRange(setting(RANGE_SETTING));
  return subtractRanges(range, parseReserved(setting(RESERVED_SETTING))).reduce(
    (sum, { begin, end }) => sum + end - begin + 1,
    0,
  );
}

/**
 * Those whose counts add up to what the host holds: in its network, and in no container that counts them too.
 */
function outermost(containers: readonly Counted[]): Counted[] {
  const counting = new Set(containers.filter(({ policy }) => policy.connections).map(idOf));
  return containers.filter(
    ({ chain, policy }) =>
      policy.connections && !policy.ownNetwork && !chain.slice(0, -1).some((id) => counting.has(BigInt(id))),
  );
}

export class HeldView {
  private constructor(
    private readonly totals: ReadonlyMap<bigint, HeldConnections>,
    private readonly byContainer: ReadonlyMap<bigint, HeldDestination[]>,
    private readonly counted: readonly Counted[],
  ) {}

  /**
   * Takes milliseconds, and nothing where no container is counted.
   * @throws map-failed
   */
  static read(instance: string, containers: readonly Counted[]): HeldView {
    const counted = containers.filter(({ policy }) => policy.connections);
    const totals = new Map<bigint, HeldConnections>();
    const byContainer = new Map<bigint, HeldDestination[]>();
    if (counted.length === 0) return new HeldView(totals, byContainer, counted);
    const open = (name: "connect_totals" | "connect_sets"): BpfMap | undefined =>
      openPinnedMap(instance, buildId(), name);
    const maps = { connect_totals: open("connect_totals"), connect_sets: open("connect_sets") };
    try {
      if (maps.connect_totals && maps.connect_sets) {
        for (const container of counted) {
          const held = readConnections(maps.connect_totals, idOf(container));
          if (held) totals.set(idOf(container), held);
        }
        const some = [...totals.values()].some(({ held }) => held > 0);
        for (const destination of some ? readDestinations(maps.connect_sets) : []) {
          const known = byContainer.get(destination.cgroupId);
          if (known) known.push(destination);
          else byContainer.set(destination.cgroupId, [destination]);
        }
      }
      return new HeldView(totals, byContainer, counted);
    } finally {
      maps.connect_totals?.close();
      maps.connect_sets?.close();
    }
  }

  /** Undefined: it is not counted. */
  of(cgroupId: bigint): (HeldConnections & { top: HeldDestination[] }) | undefined {
    const held = this.totals.get(cgroupId);
    return held && { ...held, top: this.byContainer.get(cgroupId) ?? [] };
  }

  /** Over all containers of the host's network, most held first. @param ports that the kernel has to choose from */
  host(ports?: number): HostDestination[] {
    if (this.byContainer.size === 0) return [];
    const all = ports ?? ephemeralPorts();
    const sums = new Map<string, HostDestination>();
    for (const container of outermost(this.counted)) {
      for (const { protocol, address, port, held } of this.byContainer.get(idOf(container)) ?? []) {
        const key = `${protocol} ${address} ${port}`;
        const sum = sums.get(key) ?? { protocol, address, port, held: 0, containers: 0, share: 0 };
        sum.held += held;
        sum.containers++;
        sum.share = all > 0 ? sum.held / all : 1;
        sums.set(key, sum);
      }
    }
    return [...sums.values()].sort((a, b) => b.held - a.held);
  }
}
