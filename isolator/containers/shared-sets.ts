/** Sets of rules for destinations, which containers with the same rules share: gone with the last that has them. */
import type { Programs } from "../kernel/programs.js";
import { removeSet, setsOf, type RuleSet } from "./egress.js";
import type { Records } from "./records.js";

/** ms after which no program is still looking at what a policy named before. */
const GRACE = 1000;

/** What of an instance is needed. */
interface Owner {
  readonly records: Records;
  /** Programs of this process's containers; undefined: there are none. */
  readonly programsInUse: Programs | undefined;
  locked: <T>(change: () => Promise<T>) => Promise<T>;
}

export class SharedSets {
  private timer: NodeJS.Timeout | undefined;
  /** Those that a container of this process had, until it is seen whether another one has them. */
  private readonly dropped = new Map<bigint, RuleSet>();
  /** Those of the containers of this process, where it is the daemon. */
  inUse: () => Iterable<RuleSet> = () => [];

  constructor(private readonly owner: Owner) {}

  /**
   * Removes those that no container has any more. Under the instance's lock.
   * @param key of the record of the container that had them and is on its way out
   */
  drop(programs: Programs, key: string, sets: readonly RuleSet[]): void {
    const others = sets.length === 0 ? [] : this.owner.records.keys().filter((other) => other !== key);
    for (const set of sets) if (!others.some((other) => this.uses(other, set.id))) removeSet(programs, set);
  }

  private uses(key: string, set: bigint): boolean {
    const record = this.owner.records.read(key);
    return record !== undefined && setsOf(record.policy).some(({ id }) => id === set);
  }

  /** The same in a moment, once no program can be looking at it, and with no record of this process's containers read. */
  dropLater(sets: readonly RuleSet[]): void {
    for (const set of sets) this.dropped.set(set.id, set);
    if (sets.length === 0) return;
    this.timer ??= setTimeout(() => {
      this.timer = undefined;
      void this.owner
        .locked(() => {
          this.removeDropped();
          return Promise.resolve();
        })
        .catch(() => undefined);
    }, GRACE).unref();
  }

  private removeDropped(): void {
    const { records, programsInUse: programs } = this.owner;
    for (const { id } of this.inUse()) this.dropped.delete(id);
    const runs = this.dropped.size === 0 ? [] : records.keys().filter((key) => records.isRuns(key));
    for (const [id, set] of this.dropped)
      if (programs && !runs.some((key) => this.uses(key, id))) removeSet(programs, set);
    this.dropped.clear();
  }
}
