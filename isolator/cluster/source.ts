/**
 * Where endpoints come from: the configuration itself, a file, a Mesos master. Whatever can say "these are all there are"
 * and then what changes can be one, so that a cluster too large for a master's stream to every agent is served by what
 * it has (README.md, "Endpoints").
 */
import type { ContainerFacts } from "../config/facts.js";
import type { Membership } from "../features/classes.js";
import type { PlaceKey } from "../features/endpoints.js";
import type { TaskVips } from "./vips.js";

/** What a source says of a place. Many places share the same classes: the same array. */
export interface Claim {
  classes: readonly Membership[];
  /** Who: a task's id; "" where the source names none. Two claims of one source on one place differ in it. */
  task: string;
}

/** Classes by the configuration that is in use. */
export interface Classifier {
  /** Of a task that a master tells of. The same facts may give the same array. */
  classesOf: (facts: ContainerFacts) => readonly Membership[];
  /** Names of all that there are. */
  names: ReadonlySet<string>;
}

/** What a source tells. Each call returns at once: what programs see follows. */
export interface SourceSink {
  /** All that there is, in place of all that was: programs see the one or the other. */
  replace: (claims: ClaimMap) => void;
  add: (key: PlaceKey, claim: Claim) => void;
  /** Takes a claim back. */
  remove: (key: PlaceKey, task: string) => void;
  /** What a task claims of virtual addresses; undefined: nothing, or it is gone. */
  vips?: (task: string, vips: TaskVips | undefined) => void;
  /** All tasks that claim some, in place of all that did. */
  replaceVips?: (tasks: ReadonlyMap<string, TaskVips>) => void;
  /** Of a master: the principals of its frameworks, by framework id, as they are now. */
  principals: (principals: ReadonlyMap<string, string>) => void;
  /** Something for the operator to know: once, not for every record. */
  warn: (message: string) => void;
}

export interface SourceStatus {
  /** "static", "file", "master". */
  name: string;
  /** File, or address of the master. */
  where: string;
  /** Nothing yet; all of it is as the source says now; the source is away, and this is what it said last. */
  state: "waiting" | "current" | "stale";
  /** Seconds since the source last said anything, a heartbeat too. Undefined: never, or it says nothing by itself. */
  age?: number;
  /** What keeps it from being current. */
  error?: string;
  /** Records and entries that could not be used, by kind, since the start. */
  ignored: ReadonlyMap<string, number>;
}

export interface EndpointSource {
  readonly name: string;
  /** Begins to tell. */
  start: (sink: SourceSink) => void;
  /** The configuration's classes are others: tells all anew. */
  reclassify: (classifier: Classifier) => void;
  status: () => SourceStatus;
  stop: () => void;
}

/** Claims by place. Nearly every place has one. */
export class ClaimMap {
  private readonly claims = new Map<PlaceKey, Claim | Claim[]>();
  /** Places with more than one. */
  private contested = 0;

  get size(): number {
    return this.claims.size;
  }

  get duplicates(): number {
    return this.contested;
  }

  /** The claim that holds for a place: the newest. */
  get(key: PlaceKey): Claim | undefined {
    const found = this.claims.get(key);
    return Array.isArray(found) ? found.at(-1) : found;
  }

  /** @returns whether another one has the place too */
  add(key: PlaceKey, claim: Claim): boolean {
    const found = this.claims.get(key);
    if (found === undefined || (!Array.isArray(found) && found.task === claim.task)) {
      this.claims.set(key, claim);
      return false;
    }
    const others = (Array.isArray(found) ? found : [found]).filter(({ task }) => task !== claim.task);
    if (!Array.isArray(found)) this.contested++;
    this.claims.set(key, [...others, claim]);
    return others.length > 0;
  }

  /** @returns false where there was no such claim */
  remove(key: PlaceKey, task: string): boolean {
    const found = this.claims.get(key);
    if (found === undefined) return false;
    if (!Array.isArray(found)) return found.task === task && this.claims.delete(key);
    const others = found.filter((claim) => claim.task !== task);
    if (others.length === found.length) return false;
    const [only, second] = others;
    if (only && !second) {
      this.claims.set(key, only);
      this.contested--;
    } else {
      this.claims.set(key, others);
    }
    return true;
  }

  keys(): IterableIterator<PlaceKey> {
    return this.claims.keys();
  }
}
