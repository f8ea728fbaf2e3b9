/** Undo steps, run last to first at the end, on failure and on SIGINT, SIGTERM and SIGHUP. */
import { setImmediate } from "node:timers/promises";

type Undo = () => void | Promise<void>;

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export class Cleanup {
  #steps: { what: string; undo: Undo }[] = [];
  #begun = false;
  #guarded: Promise<unknown> = Promise.resolve();

  /** @param what for the message when `undo` fails */
  add(what: string, undo: Undo): void {
    this.#steps.push({ what, undo });
  }

  /**
   * Runs what makes something that a step undoes, unless the clean-up has begun; the clean-up waits for it. For work
   * that a signal does not end by itself.
   */
  async guard<T>(make: () => Promise<T>): Promise<T> {
    // What never waits would never let a signal be heard.
    await setImmediate();
    if (this.#begun) throw new Error("stopped");
    const made = make();
    this.#guarded = made.catch(() => undefined);
    return made;
  }

  /** Runs every step, also after one failed: what failed is said, and the rest still goes away. */
  async run(): Promise<void> {
    this.#begun = true;
    await this.#guarded;
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await step.undo();
      } catch (error) {
        process.stderr.write(
          `clean-up: ${step.what}: ${error instanceof Error ? error.message : String(error)}\n`,
        );
      }
    }
  }
}

/**
 * Runs `body` and cleans up after it, whatever happens. A signal counts as a failure; a second one during the clean-up
 * is ignored, so that nothing stays behind half removed.
 */
export async function withCleanup<T>(body: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of SIGNALS) {
      process.on(signal, () => {
        reject(new Error(`stopped by ${signal}`));
      });
    }
  });
  try {
    return await Promise.race([body(cleanup), interrupted]);
  } finally {
    await cleanup.run();
    for (const signal of SIGNALS) process.removeAllListeners(signal);
  }
}
