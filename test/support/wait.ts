/** Waiting for something to come true, and not for ever. */
import { setTimeout as sleep } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Polls until `condition` gives something true, and returns that. What it throws counts as not yet.
 * @param what for the error when it does not come true
 * @param timeout ms: an emulated machine that has others beside it takes its time
 */
export async function until<T>(
  condition: () => T | Promise<T>,
  what: string | (() => string),
  timeout = 60_000,
): Promise<NonNullable<T>> {
  const deadline = Date.now() + timeout;
  let last: unknown;
  while (Date.now() < deadline) {
    try {
      const value = await condition();
      if (value) return value;
    } catch (error) {
      last = error;
    }
    await sleep(POLL_MS);
  }
  const said = typeof what === "string" ? what : what();
  throw new Error(`in ${timeout} ms it never came true: ${said}`, { cause: last });
}
