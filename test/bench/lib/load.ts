/** One end of the path: a process of test/helpers/load.c, driven line by line through its standard input. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import type { Cleanup } from "./cleanup.js";
import { isAlive } from "./cgroup.js";

/** How long a command may take beyond its own measuring time, in ms. */
const TIMEOUT_MS = 30_000;

export interface Sample {
  /** Operations done: datagrams, transactions, connections, bytes. */
  operations: number;
  /** Time they took, in ns. */
  ns: number;
}

/** How long a command works: a time after a warm-up, or a fixed number of operations. */
export type Limit = { warmMs: number; runMs: number } | { count: number };

export function limitText(limit: Limit): string {
  return "count" in limit ? `count ${limit.count}` : `time ${limit.warmMs} ${limit.runMs}`;
}

export class LoadEnd {
  readonly #process: ChildProcess;
  readonly #name: string;
  /** Last lines of standard error, for messages. */
  #errors = "";
  #waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | undefined;
  #pid = 0;

  private constructor(name: string, argv: readonly string[]) {
    const [command = "", ...args] = argv;
    this.#name = name;
    this.#process = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    const { stdin, stdout, stderr } = this.#process;
    if (!stdin || !stdout || !stderr) throw new Error("no pipes");
    stdin.on("error", () => undefined); // The end of the process is reported by "exit".
    stderr.setEncoding("utf8").on("data", (text: string) => {
      this.#errors = (this.#errors + text).slice(-2000);
    });
    createInterface({ input: stdout }).on("line", (line) => {
      // What `bpf-isolator run` may say on its own is no answer.
      if (line.startsWith("= ")) this.#waiting?.resolve(line.slice(2));
    });
    this.#process.on("error", (error) => this.#waiting?.reject(error));
    this.#process.on("close", (code, signal) => {
      this.#waiting?.reject(
        new Error(`${this.#name} ended (${signal ?? code ?? "?"}): ${this.#errors.trim()}`),
      );
    });
  }

  /**
   * Starts `argv`, which ends in the command line of load.c.
   * @param name of the variant, for messages
   */
  static async start(name: string, argv: readonly string[], cleanup: Cleanup): Promise<LoadEnd> {
    const end = new LoadEnd(name, argv);
    cleanup.add(`stopping ${name}`, () => end.stop());
    end.#pid = Number(await end.#answer("start"));
    return end;
  }

  /** Pid of the load process itself, whatever started it. */
  get pid(): number {
    return this.#pid;
  }

  /** Sends one command and waits for its result. @throws Error when the process ends or says nothing for too long */
  async command(text: string): Promise<Sample> {
    this.#process.stdin?.write(`${text}\n`);
    const [operations, ns] = (await this.#answer(text)).split(" ").map(Number);
    if (operations === undefined || ns === undefined)
      throw new Error(`${this.#name}: bad answer to "${text}"`);
    return { operations, ns };
  }

  async #answer(to: string): Promise<string> {
    if (this.#process.exitCode !== null) throw new Error(`${this.#name} has ended: ${this.#errors.trim()}`);
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<string>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        timer = setTimeout(() => {
          reject(
            new Error(`${this.#name}: no answer to "${to}" in ${TIMEOUT_MS} ms: ${this.#errors.trim()}`),
          );
        }, TIMEOUT_MS);
      });
    } finally {
      clearTimeout(timer);
      this.#waiting = undefined;
    }
  }

  /** Ends the process: first by end-of-file, which lets `bpf-isolator run` clean up, then by signals. */
  async stop(): Promise<void> {
    this.#process.stdin?.end();
    for (const signal of [undefined, "SIGTERM", "SIGKILL"] as const) {
      if (signal) this.#process.kill(signal);
      for (let waited = 0; waited < 3000; waited += 20) {
        if (this.#process.exitCode !== null || this.#process.signalCode !== null) break;
        await sleep(20);
      }
    }
    if (this.#pid && isAlive(this.#pid)) process.kill(this.#pid, "SIGKILL");
  }
}
