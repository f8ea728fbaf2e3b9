/** Work for all containers that nobody waits for, in pieces that no call notices. */
import { setTimeout as sleep } from "node:timers/promises";

/**
 * ms of work at a time, and of rest after it. An agent's call takes several turns of the event loop: if there were a piece
 * in each of them, a call would take as long as all those together.
 */
const WORK = 1;
const REST = 5;

/**
 * @param hurried whether somebody waits for the end by now: then there is no more rest
 * @returns to be called between any two steps: what is to be awaited where enough was done at a time, else undefined
 */
export function pacing(hurried: () => boolean): () => Promise<void> | undefined {
  let begun = performance.now();
  const rest = async (): Promise<void> => {
    await sleep(REST);
    begun = performance.now();
  };
  return () => (hurried() || performance.now() - begun < WORK ? undefined : rest());
}
