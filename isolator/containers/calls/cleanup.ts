/** mesos::slave::Isolator::cleanup(), and what it leaves for later. */
import { messageOf } from "../../errors.js";
import { removeAgents } from "../leftovers.js";
import { formatId, type ContainerId } from "../names.js";
import { recordKey } from "../record.js";
import type { Entry } from "../registry.js";
import type { Parts } from "./parts.js";

/** ms that cleanup() waits for processes to end before it answers and goes on in the background. */
const CLEANUP_TIMEOUT = 1_000;
const RETRY_FIRST = 1_000;
const RETRY_MOST = 30_000;

export class Cleanups {
  /** One for each that has not gone. */
  private readonly retries = new Map<Entry, NodeJS.Timeout>();
  private stopped = false;

  constructor(private readonly parts: Parts) {}

  /** Succeeds for what is not known, and at once; what does not go is tried again. */
  cleanup(id: ContainerId): Promise<void> {
    const { registry, watchers } = this.parts;
    return this.parts.serially(id, async () => {
      const inside = registry.inside(id);
      for (const entry of inside) await this.finish(entry);
      if (inside.length > 0) return;
      await this.removeUnknown(recordKey(id));
      // A check or a session is watched too.
      watchers.end(formatId(id));
    });
  }

  /** Goes on with those that a daemon before this one had begun. */
  resume(): void {
    // Nested ones before what they are nested in, of which the end would take them along.
    for (const entry of this.parts.registry.list().reverse())
      if (entry.container?.record.stage === "cleaning")
        void this.parts.serially(entry.id, () => this.finish(entry));
  }

  /** Never fails: goes on in the background. */
  private async finish(entry: Entry, retry = RETRY_FIRST): Promise<void> {
    const { log, ring, registry, rounds, watchers } = this.parts;
    entry.cleaning = true;
    try {
      await entry.container?.cleanup(CLEANUP_TIMEOUT);
    } catch (error) {
      if (retry === RETRY_FIRST) {
        const what = `it cannot be removed yet, and is tried again: ${messageOf(error)}`;
        log.add("cleanup_pending", entry.name, what);
      }
      this.later(entry, retry);
      return;
    }
    clearTimeout(this.retries.get(entry));
    this.retries.delete(entry);
    // Its last events still find its name.
    ring.poll();
    registry.delete(entry);
    rounds.delete(entry.name);
    log.forget(entry.name);
    watchers.end(entry.name);
  }

  private later(entry: Entry, retry: number): void {
    if (this.stopped || this.retries.has(entry)) return;
    const timer = setTimeout(() => {
      this.retries.delete(entry);
      void this.parts.serially(entry.id, async () => {
        // Another cleanup() may have come to the end, and its name may be another container's by now.
        if (this.parts.registry.named(entry.name) === entry)
          await this.finish(entry, Math.min(2 * retry, RETRY_MOST));
      });
    }, retry);
    this.retries.set(entry, timer.unref());
  }

  /** One that could not be taken up, or that never was. @param key of its record @throws cgroup-failed, state-failed */
  removeUnknown(key: string): Promise<void> {
    const { instance } = this.parts;
    return instance.locked(() => removeAgents(instance, key, CLEANUP_TIMEOUT));
  }

  /** Nothing is tried again; the next daemon goes on. */
  stop(): void {
    this.stopped = true;
    for (const timer of this.retries.values()) clearTimeout(timer);
    this.retries.clear();
  }
}
