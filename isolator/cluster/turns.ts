/** Long work in pieces, so that the event loop is left to others in between. */
import { setImmediate as breathe } from "node:timers/promises";

/** ms that a piece may take. */
const LENGTH = 4;

/** Whether others are due. */
export class Turn {
  private readonly begun = performance.now();

  get isOver(): boolean {
    return performance.now() - this.begun > LENGTH;
  }
}

/** Does something with each, in their order. @throws what `work` and iterating throw */
export async function eachInTurn<T>(items: Iterable<T>, work: (item: T) => void): Promise<void> {
  let turn = new Turn();
  for (const item of items) {
    work(item);
    if (!turn.isOver) continue;
    await breathe();
    turn = new Turn();
  }
}
