/**
 * The daemon's look at itself: whether each container's programs are still on its node, and its policy in the kernel is
 * the one that it should be. Somebody with the rights (bpftool, other software, a mistake) may have changed that. What is
 * not right is put right and reported; what cannot be is reported, and the daemon is not healthy until it is.
 *
 * One container a step, so that no call waits.
 */
import { IsolatorError, messageOf } from "../errors.js";
import { pacing } from "./background.js";
import type { Container } from "./container.js";
import type { Entry } from "./registry.js";

/** ms between two rounds: about 0.1 ms of work a container. */
const PERIOD = 30_000;

export interface SelfCheckResult {
  /** When the last round ended, ms since the epoch; undefined: none yet. */
  at: number | undefined;
  /** Containers that it looked at. */
  checked: number;
  /** Repairs since the daemon's start. */
  repaired: number;
  /** What could not be put right, by container: as the last round found it. */
  failures: ReadonlyMap<string, string>;
}

export interface SelfCheckOptions {
  entries: () => readonly Entry[];
  /** Called for each container that is looked at. */
  onLook: (name: string, container: Container) => void;
  onRepair: (container: string, message: string) => void;
  /** Called once for each failure, and again when it is another one. */
  onFailure: (container: string, message: string) => void;
}

/** May be so from one step to the next. */
function isLeaving({ cleaning }: Entry): boolean {
  return cleaning;
}

export class SelfCheck {
  private at: number | undefined;
  private checked = 0;
  private repaired = 0;
  private failures = new Map<string, string>();
  private round: Promise<void> = Promise.resolve();
  private readonly timer: NodeJS.Timeout;
  private readonly stopping = new AbortController();

  constructor(private readonly options: SelfCheckOptions) {
    this.timer = setInterval(() => {
      void this.look();
    }, PERIOD).unref();
  }

  get result(): SelfCheckResult {
    const { at, checked, repaired, failures } = this;
    return { at, checked, repaired, failures };
  }

  /** Looks now, or after the look that is under way. Never rejects. */
  look(): Promise<void> {
    this.round = this.round.then(() => this.lookAtAll());
    return this.round;
  }

  /** Resolves when no look is under way. */
  stop(): Promise<void> {
    this.stopping.abort();
    clearInterval(this.timer);
    return this.round;
  }

  private async lookAtAll(): Promise<void> {
    const failures = new Map<string, string>();
    const { signal } = this.stopping;
    const rest = pacing(() => signal.aborted);
    let checked = 0;
    for (const entry of this.options.entries()) {
      const due = rest();
      if (due) await due;
      if (signal.aborted) return;
      const { container, name } = entry;
      if (!container || isLeaving(entry)) continue;
      checked++;
      const failure = await this.lookAt(name, container);
      // On its way out meanwhile: nothing is to be as it was.
      if (failure !== undefined && !isLeaving(entry)) failures.set(name, failure);
    }
    for (const [name, failure] of failures)
      if (this.failures.get(name) !== failure) this.options.onFailure(name, failure);
    this.failures = failures;
    this.checked = checked;
    this.at = Date.now();
  }

  /** @returns what could not be put right */
  private async lookAt(name: string, container: Container): Promise<string | undefined> {
    try {
      this.options.onLook(name, container);
      if (container.enforcement.faults(container.glass).length === 0) return undefined;
      const faults = await container.enforcement.repair();
      if (faults.length > 0) {
        this.repaired++;
        this.options.onRepair(name, `${faults.join("; ")}: put right`);
      }
      return undefined;
    } catch (error) {
      if (error instanceof IsolatorError) return error.message;
      return `its node cannot be looked at: ${messageOf(error)}`;
    }
  }
}
