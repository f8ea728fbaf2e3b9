/**
 * All endpoints that the sources tell of, and their way into the kernel. A place that several sources name is what the
 * first of them says, in the order in which they are given.
 *
 * Sources are never waited for and never wait: what they say is noted at once, and written in turns that leave the event
 * loop to others in between.
 */
import { setImmediate as breathe } from "node:timers/promises";
import { messageOf } from "../errors.js";
import {
  decodeClasses,
  encodeClasses,
  KNOWN_CLASSES,
  tooManyClasses,
  type Membership,
} from "../features/classes.js";
import {
  encodeBlock,
  isBlock,
  keyFromBytes,
  KEY_SIZE,
  placeOf,
  type Endpoint,
  type PlaceKey,
} from "../features/endpoints.js";
import { EndpointSet, kindOf } from "../kernel/endpoint-set.js";
import type { EndpointTable } from "../kernel/endpoint-table.js";
import { ClaimMap, type Claim, type SourceSink } from "./source.js";

/** Entries that are written before others have their turn: about a millisecond. */
const AT_ONCE = 1024;
/** The source that an earlier daemon's set stands for. */
const BEFORE = "before";
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

interface Source {
  name: string;
  rank: number;
  claims: ClaimMap;
  /** Whether it has said all that it knows. */
  told: boolean;
}

export class EndpointDirectory {
  /** Those that win first. */
  private readonly sources: Source[] = [];
  /** Places that may be other in the kernel than here. */
  private dirty = new Set<PlaceKey>();
  /** The whole set has to be made anew. */
  private rebuild = false;
  private work: Promise<void> | undefined;
  private stopped = false;
  private retry: NodeJS.Timeout | undefined;
  private error: string | undefined;
  /** Warnings of classes that programs do not know. */
  private readonly told = new Set<string>();
  /** Of the same array, the same bytes. */
  private readonly values = new WeakMap<readonly Membership[], Uint8Array>();

  /** Told of the principals of frameworks. */
  onPrincipals: (principals: ReadonlyMap<string, string>) => void = () => undefined;

  /**
   * @param warn told of what an operator must know
   */
  constructor(
    private readonly table: EndpointTable,
    private readonly warn: (message: string) => void,
  ) {}

  /**
   * Goes on with what an earlier daemon has left in the kernel, until every other source has said what it knows. To be
   * called when all sources are there.
   * @param names of all classes
   */
  keepLeft(names: readonly string[]): void {
    if (this.sources.length === 0) {
      // None is configured any more: what there was is taken away.
      this.rebuild = !this.table.left().next().done;
      if (this.rebuild) this.begin();
      return;
    }
    const known = new Set(names);
    const claims = new ClaimMap();
    const lists = new Map<string, Membership[]>();
    for (const { key, block, ids } of this.table.left()) {
      const text = ids.join();
      const classes = lists.get(text) ?? decodeClasses(ids, names).filter(({ name }) => known.has(name));
      lists.set(text, classes);
      claims.add(keyFromBytes(key, block), { classes, task: "" });
    }
    if (claims.size > 0) this.sources.push({ name: BEFORE, rank: Infinity, claims, told: true });
  }

  private dropLeft(): void {
    if (this.sources.every(({ told }) => told)) this.drop(BEFORE);
  }

  /**
   * Adds a source, or begins one anew: what it has said holds until it says something else.
   * @param rank those with a lower one win over it
   */
  sink(name: string, rank: number): SourceSink {
    const before = this.sources.find((source) => source.name === name);
    const source: Source = before ?? { name, rank, claims: new ClaimMap(), told: false };
    if (!before) {
      this.sources.push(source);
      this.sources.sort((a, b) => a.rank - b.rank);
    }
    return {
      replace: (claims) => {
        source.claims = claims;
        source.told = true;
        this.rebuild = true;
        this.dropLeft();
        this.begin();
      },
      add: (key, claim) => {
        source.claims.add(key, claim);
        this.touch(key);
      },
      remove: (key, task) => {
        if (source.claims.remove(key, task)) this.touch(key);
      },
      principals: (principals) => {
        this.onPrincipals(principals);
      },
      warn: (message) => {
        this.warn(`endpoints of ${name}: ${message}`);
      },
    };
  }

  /** Forgets a source that is no more. */
  drop(name: string): void {
    const at = this.sources.findIndex((source) => source.name === name);
    if (at < 0) return;
    this.sources.splice(at, 1);
    this.rebuild = true;
    this.begin();
  }

  /** What holds for a place, and which source says so. */
  get(key: PlaceKey): { claim: Claim; source: string } | undefined {
    for (const { name, claims } of this.sources) {
      const claim = claims.get(key);
      if (claim) return { claim, source: name };
    }
    return undefined;
  }

  /** Every place, once, as it holds. Others have their turn in between. */
  async *list(): AsyncGenerator<Endpoint & { source: string }> {
    let count = 0;
    for (const [i, { name, claims }] of this.sources.entries()) {
      for (const key of claims.keys()) {
        if (++count % AT_ONCE === 0) await breathe();
        if (this.sources.slice(0, i).some((before) => before.claims.get(key))) continue;
        const claim = claims.get(key);
        if (!claim) continue;
        const { classes, task } = claim;
        yield { ...placeOf(key), classes, ...(task === "" ? {} : { task }), source: name };
      }
    }
  }

  /** Places of a source, and how many of them several of its tasks claim. */
  counts(name: string): { endpoints: number; duplicates: number } {
    const claims = this.sources.find((source) => source.name === name)?.claims;
    return { endpoints: claims?.size ?? 0, duplicates: claims?.duplicates ?? 0 };
  }

  /** Why the kernel does not have what is known here; undefined: it has, or will in a moment. */
  get problem(): string | undefined {
    return this.error;
  }

  /** Resolves when the kernel has all that was known at the call, unless that fails. */
  async settled(): Promise<void> {
    while (this.work) await this.work;
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.retry);
    this.table.close();
  }

  private touch(key: PlaceKey): void {
    this.dirty.add(key);
    this.begin();
  }

  private begin(): void {
    if (this.work || this.stopped || this.retry) return;
    // In a turn of its own: many changes come in one record, and in one read of many records.
    this.work = breathe().then(() => this.write());
    void this.work.finally(() => {
      this.work = undefined;
    });
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

  /** Writes places into a set as they are known now, those that go last. @returns false where it has no room */
  private writeInto(set: EndpointSet, keys: Iterable<PlaceKey>): void {
    const batch = new Batch(set);
    const gone: PlaceKey[] = [];
    for (const key of keys) {
      const classes = this.get(key)?.claim.classes;
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
    if (this.total() > set.capacity) {
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

  private total(): number {
    return this.sources.reduce((sum, { claims }) => sum + claims.size, 0);
  }

  /**
   * Makes a new set beside the one that is in use, and puts it in its place. What changes meanwhile goes into the one in
   * use at once, and into the new one before it is used.
   */
  private async writeAll(): Promise<void> {
    this.rebuild = false;
    const since = new Set<PlaceKey>();
    const set = EndpointSet.create(this.total());
    let used = false;
    try {
      for (const { claims } of [...this.sources]) {
        let keys: PlaceKey[] = [];
        for (const key of claims.keys()) {
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
    if (!live || this.total() > live.capacity) return;
    this.writeUsed(live, keys);
  }
}
