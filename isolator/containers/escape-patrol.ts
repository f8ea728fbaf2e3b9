/**
 * The daemon's look for processes that left their containers' nodes, where the kernel cannot refuse that. One round reads
 * all processes of the machine and then looks at one container after another, in steps so short that no call waits for
 * them, and a pause after it keeps all of it below one hundredth of a CPU.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { listProcesses, ProcessTable, readProcess } from "../kernel/processes.js";
import { pacing } from "./background.js";
import type { EscapedProcess, EscapeWatch } from "./escaped.js";

/** Least time between two rounds, ms. */
const PAUSE = 2_000;
/** A round that took a while is followed by so many times that. */
const REST = 100;

export class EscapePatrol {
  private readonly watches = new Map<string, EscapeWatch>();
  private readonly stopping = new AbortController();
  private running = false;

  /** @param onEscape told of each process that is found, once */
  constructor(private readonly onEscape: (container: string, found: EscapedProcess) => void) {}

  /** Looks after a container from now on. */
  add(container: string, watch: EscapeWatch): void {
    this.watches.set(container, watch);
    if (this.running || this.stopping.signal.aborted) return;
    this.running = true;
    void this.patrol().finally(() => (this.running = false));
  }

  /** A process that was put into a container may be out again before the first look. */
  note(container: string, pid: number): void {
    this.watches.get(container)?.add(pid);
  }

  remove(container: string): void {
    this.watches.delete(container);
  }

  stop(): void {
    this.stopping.abort();
  }

  private async patrol(): Promise<void> {
    const { signal } = this.stopping;
    while (this.watches.size > 0 && !signal.aborted) {
      const worked = await this.round();
      await sleep(Math.max(PAUSE, REST * worked), undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** @returns ms of work */
  private async round(): Promise<number> {
    const { signal } = this.stopping;
    const rest = pacing(() => signal.aborted);
    let worked = 0;
    const step = async <T>(work: () => T): Promise<T> => {
      const due = rest();
      if (due) await due;
      const begun = performance.now();
      const result = work();
      worked += performance.now() - begun;
      return result;
    };
    const pids = await listProcesses();
    const table = new ProcessTable();
    for (const pid of pids) {
      if (signal.aborted) return worked;
      const process = await step(() => readProcess(pid));
      if (process) table.add(process);
    }
    for (const [container, watch] of [...this.watches]) {
      if (signal.aborted) break;
      const found = await step(() => {
        try {
          return watch.look(table);
        } catch {
          // Its node went away meanwhile: it is being cleaned up.
          return [];
        }
      });
      for (const process of found) this.onEscape(container, process);
    }
    return worked;
  }
}
