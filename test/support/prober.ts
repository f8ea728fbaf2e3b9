/** Tasks that try all the time what they may and what they may not do (test/helpers/prober.c). */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DIST } from "./process.js";

export interface ProberReport {
  rounds: number;
  wrong: number;
  first: string[];
}

const PROBER = join(DIST, "test/helpers/prober");
const probers = new Set<Prober>();

/** A process of test/helpers/prober.c, which waits until it is told to begin. */
export class Prober {
  private readonly lines: AsyncIterator<string>;
  private readonly closed: Promise<unknown>;

  private constructor(private readonly child: ChildProcess) {
    probers.add(this);
    assert(child.stdout && child.stdin);
    child.stdin.on("error", () => undefined);
    this.lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    this.closed = once(child, "close");
  }

  static spawn(...words: (string | number)[]): Prober {
    return new Prober(spawn(PROBER, words.map(String), { stdio: ["pipe", "pipe", "inherit"] }));
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  private async line(): Promise<string> {
    const next: IteratorResult<string, unknown> = await this.lines.next();
    assert(!next.done, `the prober ${this.pid} died`);
    return next.value;
  }

  /** Begins, and waits for the first round. */
  async begin(): Promise<void> {
    this.child.stdin?.write("go\n");
    assert.equal(await this.line(), "ready");
  }

  /** What it says so far. */
  async report(): Promise<ProberReport> {
    this.child.stdin?.write("?\n");
    return JSON.parse(await this.line()) as ProberReport;
  }

  /** Begins what ends by itself, or ends what goes on. @returns what it says of all of it */
  async end(start = false): Promise<ProberReport> {
    this.child.stdin?.end(start ? "go\n" : "");
    const report = JSON.parse(await this.line()) as ProberReport;
    await this.closed;
    probers.delete(this);
    return report;
  }

  /** Kills it, and waits. Safe to repeat. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.closed;
    probers.delete(this);
  }

  /** Those that a failed test has left. */
  static async killAll(): Promise<void> {
    await Promise.all([...probers].map((prober) => prober.kill()));
  }
}
