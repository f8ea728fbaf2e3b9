/**
 * The daemon's events: what the programs report, less what comes too fast, and what happens in a container's life. The
 * last ones are kept for who asks later; who follows gets each as it comes. Whatever is left out is counted, and said.
 */
import { describe, type Denial } from "../features/events.js";

/** What an event is about. denied, audited, reported: from the programs (features/events.ts). */
export type EventKind =
  | Denial["event"]
  | "not_shown"
  | "lost"
  | "taken_over"
  | "listener_kept"
  | "unmanaged"
  | "shares_node"
  | "undone"
  | "removed"
  | "cleanup_pending"
  | "escaped"
  | "violations"
  | "limitation"
  | "upgraded"
  | "configuration"
  | "break_glass"
  | "repaired"
  | "ended"
  | "self_check"
  | "service"
  | "warning";

export interface IsolatorEvent {
  /** Grows by one with each event of a daemon's life. */
  sequence: number;
  /** ms since the epoch. */
  time: number;
  /** Empty where it is about no container. */
  container: string;
  kind: EventKind;
  /** One sentence. What comes from a task in it is escaped. */
  message: string;
  /** Of not_shown and lost. */
  count?: number;
  denial?: Denial;
}

/** Of one container: shown at once, then so many a second. */
const BURST = 20;
const PER_SECOND = 5;
const KEPT = 1000;
/** Events that wait for one follower. */
const QUEUE = 1000;

interface Allowance {
  left: number;
  at: number;
  hidden: number;
}

export class EventLog {
  private readonly kept: IsolatorEvent[] = [];
  private readonly followers = new Set<(event: IsolatorEvent) => void>();
  private readonly allowances = new Map<string, Allowance>();
  private next = 1;

  /** @param onEvent called for each event that is shown, as for a log */
  constructor(private readonly onEvent: (event: IsolatorEvent) => void = () => undefined) {}

  add(
    kind: EventKind,
    container: string,
    message: string,
    more: Pick<IsolatorEvent, "count" | "denial"> = {},
  ): void {
    const event: IsolatorEvent = {
      sequence: this.next++,
      time: Date.now(),
      container,
      kind,
      message,
      ...more,
    };
    this.kept.push(event);
    if (this.kept.length > KEPT) this.kept.shift();
    this.onEvent(event);
    for (const follow of this.followers) follow(event);
  }

  /** @param describeDenial called only for one that is shown */
  denial(container: string, describeDenial: () => Denial): void {
    const allowance = this.allowances.get(container) ?? { left: BURST, at: Date.now(), hidden: 0 };
    this.allowances.set(container, allowance);
    const now = Date.now();
    allowance.left = Math.min(BURST, allowance.left + ((now - allowance.at) / 1000) * PER_SECOND);
    allowance.at = now;
    if (allowance.left < 1) {
      allowance.hidden++;
      return;
    }
    allowance.left--;
    this.flush(container);
    const denial = describeDenial();
    this.add(denial.event, container, describe(denial), { denial });
  }

  /** Says how many of a container's were not shown, if any. */
  flush(container: string): void {
    const allowance = this.allowances.get(container);
    if (!allowance || allowance.hidden === 0) return;
    const count = allowance.hidden;
    allowance.hidden = 0;
    this.add("not_shown", container, `${count} more were not shown`, { count });
  }

  /** A container has ended: says what was not shown, and forgets it. */
  forget(container: string): void {
    this.flush(container);
    this.allowances.delete(container);
  }

  /** The last events, oldest first. */
  recent(): IsolatorEvent[] {
    return [...this.kept];
  }

  /**
   * The last events and then each as it comes, until `signal` aborts. A follower that does not keep up loses events, and
   * is told how many.
   */
  async *follow(
    signal: AbortSignal,
    wanted: (event: IsolatorEvent) => boolean = () => true,
  ): AsyncGenerator<IsolatorEvent> {
    const queue = this.recent().filter(wanted);
    let lost = 0;
    let wake: () => void = () => undefined;
    const follow = (event: IsolatorEvent): void => {
      if (!wanted(event)) return;
      if (queue.length < QUEUE) queue.push(event);
      else lost++;
      wake();
    };
    const abort = (): void => {
      wake();
    };
    this.followers.add(follow);
    signal.addEventListener("abort", abort);
    try {
      while (!signal.aborted) {
        const event = queue.shift();
        if (event) {
          yield event;
          continue;
        }
        if (lost > 0) {
          const count = lost;
          lost = 0;
          const message = `${count} were lost: they came faster than they were read`;
          yield { sequence: 0, time: Date.now(), container: "", kind: "lost", message, count };
          continue;
        }
        await new Promise<void>((resolve) => (wake = resolve));
      }
    } finally {
      this.followers.delete(follow);
      signal.removeEventListener("abort", abort);
    }
  }
}
