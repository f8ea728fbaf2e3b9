/**
 * The last 15 minutes of each container, for the status page: a ring of a fixed size that is overwritten. A container
 * takes 4.8 KB (POINTS times four numbers of 4 bytes), a thousand of them 4.8 MB, however long they live.
 */
import { totalDenied, type Usage } from "../features/accounting.js";
import { liveConnections } from "../features/statistics.js";
import type { Past, Series } from "./wire.js";

/** ms between two samples. */
export const INTERVAL = 3_000;
/** 15 minutes. */
export const POINTS = 300;

const FIELDS = ["received", "sent", "connections", "denied"] as const;
type Field = (typeof FIELDS)[number];
/** Bytes of a container's ring. */
export const RING_BYTES = POINTS * FIELDS.length * Float32Array.BYTES_PER_ELEMENT;

/** Counts of a container at one time. */
export interface Counts {
  received: number;
  sent: number;
  connections: number;
  denied: number;
}

export function countsOf(usage: Usage): Counts {
  return {
    received: Number(usage.rxBytes),
    sent: Number(usage.txBytes),
    connections: liveConnections(usage),
    denied: Number(totalDenied(usage.denied)),
  };
}

class Ring {
  readonly values: Readonly<Record<Field, Float32Array>>;
  private last: { time: number; counts: Counts } | undefined;
  /** Number of the last round that it was in. */
  round = -1;

  constructor() {
    const all = new Float32Array(POINTS * FIELDS.length).fill(NaN);
    this.values = Object.fromEntries(
      FIELDS.map((field, i) => [field, all.subarray(i * POINTS, (i + 1) * POINTS)]),
    ) as Record<Field, Float32Array>;
  }

  add(round: number, time: number, counts: Counts): void {
    const { last, values } = this;
    const place = round % POINTS;
    // Rounds that it was not in.
    for (let missed = Math.max(this.round + 1, round - POINTS); missed < round; missed++)
      for (const field of FIELDS) values[field][missed % POINTS] = NaN;
    const seconds = last ? (time - last.time) / 1000 : 0;
    // Another container of the same name has counted less.
    const moved = (field: Field): number => Math.max(0, counts[field] - (last?.counts[field] ?? NaN));
    values.received[place] = seconds > 0 ? moved("received") / seconds : NaN;
    values.sent[place] = seconds > 0 ? moved("sent") / seconds : NaN;
    values.connections[place] = counts.connections;
    values.denied[place] = moved("denied");
    this.last = { time, counts };
    this.round = round;
  }
}

export class History {
  private readonly times = new Float64Array(POINTS).fill(NaN);
  private readonly rings = new Map<string, Ring>();
  private round = -1;

  /** Begins a sample of all containers. @param time ms since the epoch */
  begin(time: number): void {
    this.round++;
    this.times[this.round % POINTS] = time;
  }

  /** @param now ms, of a clock that only goes forward */
  add(container: string, now: number, counts: Counts): void {
    const ring = this.rings.get(container) ?? new Ring();
    this.rings.set(container, ring);
    ring.add(this.round, now, counts);
  }

  /** Ends it: a container that was not in it is gone. */
  end(): void {
    for (const [name, { round }] of this.rings) if (round !== this.round) this.rings.delete(name);
  }

  /** Bytes of all rings. */
  get bytes(): number {
    return this.rings.size * RING_BYTES;
  }

  /** A rate or count of the last sample; null: not known. */
  last(container: string, field: Field): number | null {
    return this.read(container, field, 1)[0] ?? null;
  }

  /** Of the last samples. ms since the epoch */
  readTimes(points = POINTS): number[] {
    return this.places(points).map((place) => this.times[place] ?? NaN);
  }

  /** The last samples of a container. */
  readPast(container: string, points = POINTS): Past {
    const read = (field: Field): Series => this.read(container, field, points);
    return {
      received: read("received"),
      sent: read("sent"),
      connections: read("connections"),
      denied: read("denied"),
    };
  }

  private read(container: string, field: Field, points: number): (number | null)[] {
    const ring = this.rings.get(container);
    return this.places(points).map((place, i, { length }) => {
      // One that has not come to this round yet.
      const round = this.round - (length - 1 - i);
      const value = ring && round <= ring.round ? (ring.values[field][place] ?? NaN) : NaN;
      return Number.isNaN(value) ? null : Math.round(value);
    });
  }

  /** Of the last samples, oldest first: fewer after a start. */
  private places(points: number): number[] {
    const count = Math.min(points, this.round + 1, POINTS);
    return Array.from({ length: count }, (_, i) => (this.round - count + 1 + i) % POINTS);
  }
}
