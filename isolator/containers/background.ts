/** Work for all containers that nobody waits for, in pieces that no call notices. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * ms of work at a time, and of rest after it. An agent's call takes several turns of the event loop: if there were a piece
 * in each of them, a call would take as long as all those together.
 */
const WORK = 0.25;
const REST = 2;

/**
 * @param signal when it aborts, there is no more rest: somebody waits for the end
 * @returns to be called and awaited between any two steps: rests where enough was done at a time
 */
export function pacing(signal: AbortSignal): () => Promise<void> {
  let begun = performance.now();
  return async () => {
    if (signal.aborted || performance.now() - begun < WORK) return;
    await sleep(REST, undefined, { signal }).catch(() => undefined);
    begun = performance.now();
  };
}
