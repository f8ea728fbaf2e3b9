/** What the page knows: what the daemon has told, and nothing else. */
import {
  AT,
  type DaemonView,
  type FeatureView,
  type Numbers,
  type Row,
  type ServiceView,
  type ShownContainer,
  type ShownEvent,
  type Snapshot,
  type Tick,
} from "../wire.js";

/** Points of a sparkline, as many as a snapshot brings. */
const SPARK = 30;
/** Events that are kept. */
const EVENTS = 500;

export const SPARKS = ["received", "sent", "connections"] as const;
export type Spark = (typeof SPARKS)[number];

export interface Container {
  row: Row;
  numbers: Numbers;
  readonly sparks: Record<Spark, (number | null)[]>;
}

function toContainer({ row, numbers, past }: ShownContainer): Container {
  return {
    row,
    numbers,
    sparks: { received: [...past.received], sent: [...past.sent], connections: [...past.connections] },
  };
}

export class State {
  readonly containers = new Map<string, Container>();
  daemon: DaemonView | undefined;
  services: readonly ServiceView[] = [];
  features: readonly FeatureView[] | null = null;
  events: ShownEvent[] = [];
  private lastEvent = 0;

  /** After a break too: what was known before may be wrong by now. */
  begin({ containers, daemon, services, features }: Snapshot): void {
    this.containers.clear();
    for (const each of containers) this.containers.set(each.row.key, toContainer(each));
    this.daemon = daemon;
    this.services = services;
    this.features = features;
    this.events = [];
    this.lastEvent = 0;
  }

  apply({ gone, rows, numbers, daemon, services }: Tick): void {
    for (const key of gone) this.containers.delete(key);
    for (const row of rows) {
      const known = this.containers.get(row.key);
      if (known) known.row = row;
      else
        this.containers.set(row.key, {
          ...{ row, numbers: numbers[row.key] ?? [] },
          sparks: { received: [], sent: [], connections: [] },
        });
    }
    for (const [key, container] of this.containers) {
      container.numbers = numbers[key] ?? container.numbers;
      for (const name of SPARKS) {
        const spark = container.sparks[name];
        spark.push(container.numbers[AT[name]] ?? null);
        if (spark.length > SPARK) spark.shift();
      }
    }
    this.daemon = daemon ?? this.daemon;
    this.services = services ?? this.services;
  }

  /** @returns those that were not known */
  addEvents(events: readonly ShownEvent[]): ShownEvent[] {
    const fresh = events.filter(({ sequence }) => sequence === 0 || sequence > this.lastEvent);
    for (const { sequence } of fresh) this.lastEvent = Math.max(this.lastEvent, sequence);
    this.events = [...this.events, ...fresh].slice(-EVENTS);
    return fresh;
  }
}

/** How much of a container's fullest limit is in use; undefined: it has none. */
export function fullest({ row, numbers }: Container) {
  const all = row.limits.map((limit, i) => {
    const used = numbers[AT.limits + i] ?? 0;
    return { ...limit, used, share: limit.most > 0 ? used / limit.most : 1 };
  });
  return all.sort((a, b) => b.share - a.share)[0];
}
