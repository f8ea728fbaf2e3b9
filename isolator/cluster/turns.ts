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

/**
 * Work that is begun whenever there may be some: one at a time, and each in a turn of its own, since many changes come
 * in one record, and in one read of many records.
 */
export class Work {
  private running: Promise<void> | undefined;

  /** @param work does all that there is by its end */
  constructor(private readonly work: () => Promise<void>) {}

  begin(): void {
    if (this.running) return;
    this.running = breathe().then(this.work);
    void this.running.finally(() => {
      this.running = undefined;
    });
  }

  /** Resolves when nothing is being done. */
  async settled(): Promise<void> {
    while (this.running) await this.running;
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
