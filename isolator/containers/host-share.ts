/**
 * What the operator must know of connections before it does harm: destinations that all containers together hold so many
 * connections to that the host runs out of ports for them, so that the kernel refuses the next connect() of anybody
 * (EADDRNOTAVAIL); and containers with more destinations than there is room to count one by one.
 */
import { messageOf } from "../errors.js";
import { encodeShares, formatDestination } from "../features/connections.js";
import { u32Key } from "../kernel/codec.js";
import { buildId } from "../kernel/object.js";
import { openPinnedMap } from "../kernel/pins.js";
import type { Container } from "./container.js";
import type { EventLog } from "./event-log.js";
import {
  ephemeralPorts,
  fairShare,
  fairShares,
  HeldView,
  type Counted,
  type HostDestination,
} from "./held.js";
import type { Instance } from "./instance.js";
import { recordKey } from "./record.js";

/** ms between two looks. */
const INTERVAL = 10_000;
/** The same, where containers get their share by what is seen. */
const FAIR_INTERVAL = 1_000;
/** Of the ports that the kernel has to choose from: told above the one, and anew once it was below the other. */
const WARN = 0.8;
const CALM = 0.7;

export class HostShare {
  private readonly timer: NodeJS.Timeout;
  private readonly fairTimer: NodeJS.Timeout;
  /** What was written of shares last, as text. */
  private written = "";
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
    this.fairTimer = setInterval(() => {
      if (this.containers().some(({ policy }) => policy.connections?.fair)) this.look();
    }, FAIR_INTERVAL).unref();
  }

  stop(): void {
    clearInterval(this.timer);
    clearInterval(this.fairTimer);
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
      this.shareOut(view);
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

  /**
   * Writes what each container may have of a destination. Without a daemon what was written last holds on.
   * @throws map-failed
   */
  shareOut(view?: HeldView): void {
    if (!this.containers().some(({ policy }) => policy.connections?.fair)) return;
    const ports = ephemeralPorts();
    const other = fairShare(ports);
    const shares = fairShares((view ?? this.read()).host(ports), ports);
    const text = JSON.stringify([other, shares]);
    if (text === this.written) return;
    const map = openPinnedMap(this.instance.name, buildId(), "connect_shares");
    try {
      map?.update(u32Key(0), encodeShares(other, shares));
      if (map) this.written = text;
    } finally {
      map?.close();
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
