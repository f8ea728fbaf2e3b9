/**
 * What the status page is told: JSON of GET /events (server-sent events) and of GET /container/NAME. Both the daemon and
 * the browser's part (page/) are compiled with these types. All text is made for showing: what a task or framework chose
 * has everything but printable ASCII as \xNN (only `key` is the name itself).
 */

/** A name and a value of several lines. */
export type Detail = readonly [name: string, value: string];

/** What seldom changes of a container. */
export interface Row {
  /** Its name, as in GET /container/KEY. */
  readonly key: string;
  readonly name: string;
  readonly task: string;
  readonly state: string;
  readonly classes: string;
  readonly ports: string;
  readonly enforcement: string;
  /** Limits, by what they are of; how much of each is in use is at the end of Numbers. */
  readonly limits: readonly { readonly name: string; readonly most: number; readonly unit: LimitUnit }[];
}

export type LimitUnit = "connections" | "bytes/s";

/** What changes all the time: places of Numbers. Rates are bytes a second, null where they are not known yet. */
export const AT = {
  received: 0,
  sent: 1,
  connections: 2,
  processes: 3,
  denied: 4,
  audited: 5,
  /** First of those of Row.limits. */
  limits: 6,
} as const;
export type Numbers = readonly (number | null)[];

/** A series, oldest first; null: not known. */
export type Series = readonly (number | null)[];

/** What a container page and a sparkline show over time. */
export interface Past {
  readonly received: Series;
  readonly sent: Series;
  readonly connections: Series;
  /** In each interval. */
  readonly denied: Series;
}

export interface ShownContainer {
  readonly row: Row;
  readonly numbers: Numbers;
  /** The last of it, for sparklines. */
  readonly past: Omit<Past, "denied">;
}

export interface ShownEvent {
  /** Grows by one with each event of a daemon's life; 0: of this stream alone. */
  readonly sequence: number;
  /** ms since the epoch */
  readonly time: number;
  /** As Row.key; empty where it is about no container. */
  readonly container: string;
  readonly name: string;
  readonly kind: string;
  readonly message: string;
}

export interface DaemonView {
  readonly version: string;
  readonly instance: string;
  /** ms since the epoch */
  readonly started: number;
  /** What makes it unhealthy, or is not as its operator wants it. */
  readonly problems: readonly string[];
  readonly details: readonly Detail[];
}

export interface FeatureView {
  readonly feature: string;
  readonly status: "works" | "limited" | "fails";
  readonly reasons: readonly string[];
}

/** A virtual address, and where connections to it go. */
export interface ServiceView {
  readonly name: string;
  readonly address: string;
  readonly backends: readonly {
    readonly address: string;
    /** As in "up", "draining". */
    readonly state: string;
    readonly connections: number;
    readonly failures: number;
  }[];
}

/** Event "snapshot": all there is. Whatever was known before is no more. */
export interface Snapshot {
  /** ms between two ticks. */
  readonly interval: number;
  readonly daemon: DaemonView;
  readonly containers: readonly ShownContainer[];
  readonly services: readonly ServiceView[];
  /** null: not known yet; event "features" brings them. */
  readonly features: readonly FeatureView[] | null;
}

/** Event "tick": what has changed since the one before. */
export interface Tick {
  /** ms since the epoch */
  readonly time: number;
  readonly gone: readonly string[];
  readonly rows: readonly Row[];
  /** By Row.key; those that are as before are not there. */
  readonly numbers: Readonly<Record<string, Numbers>>;
  readonly daemon?: DaemonView;
  readonly services?: readonly ServiceView[];
}

/** GET /container/KEY */
export interface ContainerView {
  readonly row: Row;
  readonly numbers: Numbers;
  readonly details: readonly Detail[];
  /** ms since the epoch, of each value of `past` */
  readonly times: readonly number[];
  readonly past: Past;
}
