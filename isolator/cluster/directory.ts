/**
 * All endpoints that the sources tell of. A place that several sources name is what the first of them says, in the order
 * in which they are given. Sources are never waited for and never wait: what they say is noted at once, and is in the
 * kernel in a moment (endpoint-writer.ts).
 */
import { setImmediate as breathe } from "node:timers/promises";
import { decodeClasses, type Membership } from "../features/classes.js";
import { keyFromBytes, placeOf, type Endpoint, type PlaceKey } from "../features/endpoints.js";
import type { EndpointTable } from "../kernel/endpoint-table.js";
import { EndpointWriter } from "./endpoint-writer.js";
import { ClaimMap, type Claim, type SourceSink } from "./source.js";

/** Places that are listed before others have their turn. */
const AT_ONCE = 1024;
/** The source that an earlier daemon's set stands for. */
const BEFORE = "before";

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
  private readonly writer: EndpointWriter;

  /** Told of the principals of frameworks. */
  onPrincipals: (principals: ReadonlyMap<string, string>) => void = () => undefined;

  /**
   * @param warn told of what an operator must know
   */
  constructor(
    private readonly table: EndpointTable,
    private readonly warn: (message: string) => void,
  ) {
    this.writer = new EndpointWriter(
      table,
      {
        classesAt: (key) => this.get(key)?.claim.classes,
        places: () => this.sources.map(({ claims }) => claims.keys()),
        total: () => this.sources.reduce((sum, { claims }) => sum + claims.size, 0),
      },
      warn,
    );
  }

  /**
   * Goes on with what an earlier daemon has left in the kernel, until every other source has said what it knows. To be
   * called when all sources are there.
   * @param names of all classes
   */
  keepLeft(names: readonly string[]): void {
    if (this.sources.length === 0) {
      // None is configured any more: what there was is taken away.
      if (!this.table.left().next().done) this.writer.writeAnew();
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
        this.dropLeft();
        this.writer.writeAnew();
      },
      add: (key, claim) => {
        source.claims.add(key, claim);
        this.writer.touch(key);
      },
      remove: (key, task) => {
        if (source.claims.remove(key, task)) this.writer.touch(key);
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
    this.writer.writeAnew();
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
    return this.writer.problem;
  }

  /** Resolves when the kernel has all that was known at the call, unless that fails. */
  async settled(): Promise<void> {
    await this.writer.settled();
  }

  stop(): void {
    this.writer.stop();
  }
}
