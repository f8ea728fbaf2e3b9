/** Which containers of an agent there are, who waits for their end, and whose turn it is. */
import type { ContainerFacts, TaskFacts } from "../config/facts.js";
import type { mesos } from "../mesos/messages.js";
import type { Container } from "./container.js";
import { formatId, type ContainerId } from "./names.js";

/** One of an agent's containers, as the daemon knows it. */
export interface Entry {
  readonly id: ContainerId;
  /** "root.child", as Mesos writes the id. */
  readonly name: string;
  /** Undefined: in `shares`, or else launched before there was a daemon, so under no policy. */
  readonly container: Container | undefined;
  /** The container whose node its processes are in, and whose policy holds for it: it has none of its own. */
  readonly shares?: Container;
  /** Undefined: not known any more. */
  facts?: ContainerFacts | undefined;
  /** What the agent's API says of its tasks. */
  task?: TaskFacts | undefined;
  /** Since when there may be other tasks; ms of a clock that only goes forward. */
  taskOldSince?: number | undefined;
  readonly config?: mesos.slave.ContainerConfig | undefined;
  /** Bytes of the ContainerConfig of its prepare(). */
  readonly bytes?: Uint8Array | undefined;
  /** Taken up from an earlier daemon, and no update() since. */
  recovered: boolean;
  cleaning: boolean;
}

/** The container that one is nested in. */
export function parentOf(id: ContainerId): ContainerId | undefined {
  const [root, ...nested] = id.slice(0, -1);
  return root === undefined ? undefined : [root, ...nested];
}

function sorted(entries: Entry[]): Entry[] {
  return entries.sort((a, b) => (a.name < b.name ? -1 : 1));
}

export class Registry {
  private readonly entries = new Map<string, Entry>();
  private readonly byCgroup = new Map<bigint, Entry>();

  add(entry: Entry): void {
    this.entries.set(entry.name, entry);
    if (entry.container) this.byCgroup.set(entry.container.cgroupId, entry);
  }

  delete(entry: Entry): void {
    if (this.entries.get(entry.name) === entry) this.entries.delete(entry.name);
    if (entry.container) this.byCgroup.delete(entry.container.cgroupId);
  }

  find(id: ContainerId): Entry | undefined {
    return this.entries.get(formatId(id));
  }

  named(name: string): Entry | undefined {
    return this.entries.get(name);
  }

  withCgroup(cgroupId: bigint): Entry | undefined {
    return this.byCgroup.get(cgroupId);
  }

  /** The innermost container that is known of those that one is nested in. */
  nearestAbove(id: ContainerId): Entry | undefined {
    for (let up = parentOf(id); up; up = parentOf(up)) {
      const entry = this.find(up);
      if (entry) return entry;
    }
    return undefined;
  }

  /** All, in no order. */
  all(): Iterable<Entry> {
    return this.entries.values();
  }

  /** All, parents before children, by name. */
  list(): Entry[] {
    return sorted([...this.entries.values()]);
  }

  /** A container and all that is nested in it, children before parents. */
  inside(id: ContainerId): Entry[] {
    const name = formatId(id);
    const below = `${name}.`;
    const inside: Entry[] = [];
    for (const entry of this.entries.values())
      if (entry.name === name || entry.name.startsWith(below)) inside.push(entry);
    return sorted(inside).reverse();
  }
}

/**
 * Who waits for the end of a container, or for a reason to end it: by its name, since one may be watched that is not known
 * (yet, or as such).
 */
export class Watchers {
  private readonly waiting = new Map<string, Set<() => void>>();
  /** Of containers that have not ended yet: whoever watches later, after a lost connection, is told too. */
  private readonly limitations = new Map<string, mesos.slave.ContainerLimitation>();

  /** Resolves at the container's end, or when `signal` aborts. */
  wait(name: string, signal: AbortSignal): Promise<void> {
    return this.sleep(name, signal);
  }

  /** Why the container has to end; undefined at its end, or when `signal` aborts. */
  async limitation(name: string, signal: AbortSignal): Promise<mesos.slave.ContainerLimitation | undefined> {
    if (!this.limitations.has(name)) await this.sleep(name, signal);
    return this.limitations.get(name);
  }

  isLimited(name: string): boolean {
    return this.limitations.has(name);
  }

  /** The container has to end. */
  raise(name: string, limitation: mesos.slave.ContainerLimitation): void {
    this.limitations.set(name, limitation);
    this.wake(name);
  }

  /** The container has ended. */
  end(name: string): void {
    this.limitations.delete(name);
    this.wake(name);
  }

  private async sleep(name: string, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const here = this.waiting.get(name) ?? new Set();
    this.waiting.set(name, here);
    await new Promise<void>((resolve) => {
      const end = (): void => {
        here.delete(end);
        if (here.size === 0 && this.waiting.get(name) === here) this.waiting.delete(name);
        signal.removeEventListener("abort", end);
        resolve();
      };
      here.add(end);
      signal.addEventListener("abort", end);
    });
  }

  private wake(name: string): void {
    for (const end of [...(this.waiting.get(name) ?? [])]) end();
  }
}

/** Work on things that must not overlap: what has the same key is done one after another, the rest side by side. */
export class Queues {
  private readonly last = new Map<string, Promise<unknown>>();

  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.last.get(key) ?? Promise.resolve();
    const result = before.then(work, work);
    const settled = result.then(
      () => undefined,
      () => undefined,
    );
    this.last.set(key, settled);
    void settled.then(() => {
      if (this.last.get(key) === settled) this.last.delete(key);
    });
    return result;
  }

  /** Resolves when all that is under way now is done. */
  async idle(): Promise<void> {
    await Promise.all(this.last.values());
  }
}
