/**
 * What the operator must know of connections before it does harm: destinations that all containers together hold so many
 * connections to that the host runs out of ports for them, so that the kernel refuses the next connect() of anybody
 * (EADDRNOTAVAIL); and containers with more destinations than there is room to count one by one.
 */
import { messageOf } from "../errors.js";
import { formatDestination } from "../features/connections.js";
import type { Container } from "./container.js";
import type { EventLog } from "./event-log.js";
import { HeldView, type Counted, type HostDestination } from "./held.js";
import type { Instance } from "./instance.js";
import { recordKey } from "./records.js";

/** ms between two looks. */
const INTERVAL = 10_000;
/** Of the ports that the kernel has to choose from: told above the one, and anew once it was below the other. */
const WARN = 0.8;
const CALM = 0.7;

export class HostShare {
  private readonly timer: NodeJS.Timeout;
  /** Destinations that were told. */
  private readonly told = new Set<string>();
  /** Containers that were told to share a count. */
  private readonly sharing = new Set<string>();
  private broken = false;

  /** @param containers the daemon's own; those of `run` are found by their records */
  constructor(
    private readonly instance: Instance,
    private readonly log: EventLog,
    private readonly containers: () => readonly Container[],
  ) {
    this.timer = setInterval(() => {
      this.look();
    }, INTERVAL).unref();
  }

  stop(): void {
    clearInterval(this.timer);
  }

  /** Most held first. @throws map-failed */
  destinations(): HostDestination[] {
    return this.read().host();
  }

  private read(): HeldView {
    return HeldView.read(this.instance.name, this.counted());
  }

  private counted(): Counted[] {
    const { records } = this.instance;
    const own = this.containers();
    // What this process knows is not read again: that is a file for each container, on the event loop.
    const known = new Set(own.map(({ id }) => recordKey(id)));
    const others = records
      .keys()
      .filter((key) => !known.has(key) && !records.isAgents(key))
      .flatMap((key) => records.read(key) ?? []);
    return [...own.map(({ chain, policy }) => ({ chain, policy })), ...others];
  }

  /** Tells what has come about since the last look. */
  look(): void {
    try {
      const view = this.read();
      this.tellSharing(view);
      const found = new Map(view.host().map((each) => [formatDestination(each), each]));
      for (const name of this.told) if ((found.get(name)?.share ?? 0) < CALM) this.told.delete(name);
      for (const [name, { share, held, containers }] of found) {
        if (share < WARN || this.told.has(name)) continue;
        this.told.add(name);
        const who = containers === 1 ? "1 container" : `${containers} containers`;
        this.log.add(
          "warning",
          "",
          `${who} hold ${held} connections to ${name}: ${Math.floor(share * 100)} % of the host's ephemeral ports; when none is left, connect() to it fails for all of the host`,
        );
      }
      this.broken = false;
    } catch (error) {
      if (!this.broken)
        this.log.add("warning", "", `the host's connections cannot be looked at: ${messageOf(error)}`);
      this.broken = true;
    }
  }

  private tellSharing(view: HeldView): void {
    const names = new Set(this.containers().map(({ name }) => name));
    for (const name of this.sharing) if (!names.has(name)) this.sharing.delete(name);
    for (const { name, cgroupId } of this.containers()) {
      const shared = view.of(cgroupId)?.shared ?? 0;
      if (shared === 0) this.sharing.delete(name);
      if (shared === 0 || this.sharing.has(name)) continue;
      this.sharing.add(name);
      this.log.add(
        "warning",
        name,
        `${shared} of its connections share one count and one limit: there is no room to count each of their destinations`,
      );
    }
  }
}
