/** `run`'s look for processes that left the container's node, where the kernel cannot refuse that. */
import type { Container } from "../containers/container.js";
import type { EscapeWatch } from "../containers/escaped.js";
import type { Reporter } from "./reporter.js";

/** Between two looks. ms */
const WATCH_MS = 500;

export class Watching {
  private readonly watch: EscapeWatch | undefined;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    container: Container,
    private readonly reporter: Reporter,
  ) {
    this.watch = container.enforcement.escapeWatch();
  }

  /** @param pid of the task */
  start(pid: number | undefined): void {
    if (!this.watch || pid === undefined) return;
    this.watch.add(pid);
    this.lookAgainAndAgain();
  }

  private lookAgainAndAgain(): void {
    const begun = performance.now();
    this.look();
    // On a machine with very many processes seldom enough to cost no more than 1 % of a CPU.
    const pause = Math.max(WATCH_MS, 100 * (performance.now() - begun));
    this.timer = setTimeout(() => {
      this.lookAgainAndAgain();
    }, pause).unref();
  }

  /** A last look, before the node's processes are killed. */
  end(): void {
    if (this.timer === undefined) return;
    clearTimeout(this.timer);
    this.look();
  }

  private look(): void {
    for (const found of this.watch?.look() ?? []) this.reporter.escaped(found);
  }
}
