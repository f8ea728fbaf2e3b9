/**
 * The way of endpoints into the kernel, in turns that leave the event loop to others in between: places that have
 * changed one by one, or all of them as a new set that takes the place of the one in use.
 */
import { setImmediate as breathe } from "node:timers/promises";
import { messageOf } from "../errors.js";
import { encodeClasses, KNOWN_CLASSES, tooManyClasses, type Membership } from "../features/classes.js";
import { encodeBlock, isBlock, KEY_SIZE, type PlaceKey } from "../features/endpoints.js";
import { EndpointSet, kindOf } from "../kernel/endpoint-set.js";
import type { EndpointTable } from "../kernel/endpoint-table.js";
import { Work } from "./turns.js";

/** Entries that are written before others have their turn: about a millisecond. */
const AT_ONCE = 1024;
/** ms after which writing that failed is tried again. */
const RETRY = 1_000;

const VALUE_SIZE = 4 * KNOWN_CLASSES;

/** Entries on their way into a set: the kernel takes many in one call. */
class Batch {
  private readonly keys = Buffer.alloc(AT_ONCE * KEY_SIZE);
  private readonly values = Buffer.alloc(AT_ONCE * VALUE_SIZE);
  private count = 0;

  constructor(private readonly set: EndpointSet) {}

  add(key: PlaceKey, value: Uint8Array): void {
    const at = this.count * KEY_SIZE;
    this.keys.write(key, at, "latin1");
    this.set.noteKind(kindOf(this.keys.subarray(at, at + KEY_SIZE)));
    this.values.set(value, this.count * VALUE_SIZE);
    this.count++;
    if (this.count === AT_ONCE) this.flush();
  }

  flush(): void {
    this.set.put(this.keys, this.values, this.count);
    this.count = 0;
  }
}

/** What the kernel is to have. */
export interface KnownEndpoints {
  /** Classes that hold for a place; none, or undefined: it is not to be there. */
  classesAt: (key: PlaceKey) => readonly Membership[] | undefined;
  /** All places, some of them several times. */
  places: () => Iterable<PlaceKey>[];
  /** How many places() has. */
  total: () => number;
}

export class EndpointWriter {
  /** Places that may be other in the kernel than here. */
  private dirty = new Set<PlaceKey>();
  /** The whole set has to be made anew. */
  private rebuild = false;
  private readonly work = new Work(() => this.write());
  private stopped = false;
  private retry: NodeJS.Timeout | undefined;
  private error: string | undefined;
  /** Warnings of classes that programs do not know. */
  private readonly told = new Set<string>();
  /** Of the same array, the same bytes. */
  private readonly values = new WeakMap<readonly Membership[], Uint8Array>();

  constructor(
    private readonly table: EndpointTable,
    private readonly known: KnownEndpoints,
    private readonly warn: (message: string) => void,
  ) {}

  /** Why the kernel does not have what is known; undefined: it has, or will in a moment. */
  get problem(): string | undefined {
    return this.error;
  }

  /** Resolves when the kernel has all that was known at the call, unless that fails. */
  async settled(): Promise<void> {
    await this.work.settled();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
    this.table.close();
  }

  /** A place may be other in the kernel than is known. */
  touch(key: PlaceKey): void {
    this.dirty.add(key);
    this.begin();
  }

  /** All of it may be. */
  writeAnew(): void {
    this.rebuild = true;
    this.begin();
  }

  private begin(): void {
    if (!this.stopped && !this.retry) this.work.begin();
  }

  private async write(): Promise<void> {
    try {
      while (!this.stopped && (this.rebuild || this.dirty.size > 0)) {
        if (this.rebuild || !this.table.set) await this.writeAll();
        else await this.writeDirty();
      }
      this.error = undefined;
    } catch (error) {
      const message = `the kernel does not have all endpoints: ${messageOf(error)}`;
      if (this.error !== message) this.warn(message);
      this.error = message;
      this.rebuild = true;
      this.retry = setTimeout(() => {
        this.retry = undefined;
        this.begin();
      }, RETRY).unref();
    }
  }

  private valueOf(classes: readonly Membership[]): Uint8Array {
    const known = this.values.get(classes);
    if (known) return known;
    const value = encodeClasses(classes);
    const what = tooManyClasses(classes);
    if (what !== undefined && !this.told.has(what)) {
      this.told.add(what);
      this.warn(`an endpoint: ${what}`);
    }
    this.values.set(classes, value);
    return value;
  }

  /** Writes places into a set as they are known now, those that go last. */
  private writeInto(set: EndpointSet, keys: Iterable<PlaceKey>): void {
    const batch = new Batch(set);
    const gone: PlaceKey[] = [];
    for (const key of keys) {
      const classes = this.known.classesAt(key);
      if (!classes || classes.length === 0) gone.push(key);
      else if (isBlock(key)) set.putBlock(encodeBlock(key), this.valueOf(classes));
      else batch.add(key, this.valueOf(classes));
    }
    batch.flush();
    for (const key of gone) {
      if (isBlock(key)) set.removeBlock(encodeBlock(key));
      else set.remove(Buffer.from(key, "latin1"));
    }
  }

  /** The same into the one in use: one change, as far as programs are told. */
  private writeUsed(set: EndpointSet, keys: readonly PlaceKey[]): void {
    this.table.change(() => {
      this.writeInto(set, keys);
      this.table.showKinds();
    });
  }

  private async writeDirty(): Promise<void> {
    const set = this.table.set;
    if (!set) return;
    const keys = this.take(AT_ONCE);
    if (this.known.total() > set.capacity) {
      this.rebuild = true;
      for (const key of keys) this.dirty.add(key);
      return;
    }
    this.writeUsed(set, keys);
    await breathe();
  }

  private take(count: number): PlaceKey[] {
    const keys: PlaceKey[] = [];
    for (const key of this.dirty) {
      keys.push(key);
      this.dirty.delete(key);
      if (keys.length === count) break;
    }
    return keys;
  }

  /**
   * Makes a new set beside the one that is in use, and puts it in its place. What changes meanwhile goes into the one in
   * use at once, and into the new one before it is used.
   */
  private async writeAll(): Promise<void> {
    this.rebuild = false;
    const since = new Set<PlaceKey>();
    const set = EndpointSet.create(this.known.total());
    let used = false;
    try {
      for (const places of this.known.places()) {
        let keys: PlaceKey[] = [];
        for (const key of places) {
          keys.push(key);
          if (keys.length < AT_ONCE) continue;
          this.writeInto(set, keys);
          keys = [];
          this.writeLive(since);
          await breathe();
          if (this.stopped) return;
          // A source has said all anew: this set is no longer what it says.
          if (this.mustRebuild()) return;
        }
        this.writeInto(set, keys);
      }
      for (const key of this.dirty) since.add(key);
      this.dirty.clear();
      this.writeInto(set, since);
      this.table.use(set);
      used = true;
    } finally {
      if (!used) set.close();
    }
  }

  private mustRebuild(): boolean {
    return this.rebuild;
  }

  private writeLive(since: Set<PlaceKey>): void {
    if (this.dirty.size === 0) return;
    const keys = [...this.dirty];
    this.dirty.clear();
    for (const key of keys) since.add(key);
    const live = this.table.set;
    if (!live || this.known.total() > live.capacity) return;
    this.writeUsed(live, keys);
  }
}
