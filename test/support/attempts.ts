/**
 * Attempts by one process in each place, which forks for each of them (test/helpers/attempt/many.c): for tests that make
 * hundreds, where starting a program each time takes most of the time. What is in a node ends with it.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { after } from "node:test";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { ATTEMPT, inNode, toOutcome, wordsIn, type attempt, type Outcome } from "./process.js";

interface Waiting {
  words: string;
  resolve: (outcome: Outcome) => void;
  reject: (reason: Error) => void;
}

/** The process of one place. */
class Maker {
  private readonly child: ChildProcess;
  private readonly waiting = new Map<string, Waiting>();
  private count = 0;

  constructor(node: CgroupNode | undefined) {
    const [file = "", ...args] = node ? inNode(node, [ATTEMPT, "--many"]) : [ATTEMPT, "--many"];
    this.child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    if (!this.child.stdout) throw new Error("no pipe");
    createInterface(this.child.stdout).on("line", (line) => {
      this.hear(line);
    });
    this.child.on("error", (error) => {
      this.fail(error);
    });
    this.child.on("close", (code, signal) => {
      this.fail(new Error(`attempt --many ended: ${code ?? signal ?? ""}`));
    });
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  make(words: string): Promise<Outcome> {
    const id = `${this.count++}`;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { words, resolve, reject });
      this.child.stdin?.write(`${id} ${words}\n`);
    });
  }

  end(): void {
    this.child.stdin?.end();
  }

  private hear(line: string): void {
    const [, id = "", status, said = ""] = /^(\d+) (\d+) (.*)$/.exec(line) ?? [];
    const waiting = this.waiting.get(id);
    if (!waiting) {
      this.fail(new Error(`attempt --many said ${line}`));
      return;
    }
    this.waiting.delete(id);
    try {
      waiting.resolve(toOutcome(waiting.words, Number(status), said));
    } catch (error) {
      waiting.reject(error as Error);
    }
  }

  private fail(reason: Error): void {
    for (const { reject } of this.waiting.values()) reject(reason);
    this.waiting.clear();
  }
}

/**
 * Attempts of a test file; their processes end after its tests.
 * @returns what makes one, as attempt() of process.ts does
 */
export function testAttempts(): typeof attempt {
  const makers = new Map<string, Maker>();
  after(() => {
    for (const maker of makers.values()) maker.end();
  });
  return (words, node, options) => {
    const place = node?.path ?? "";
    let maker = makers.get(place);
    // A node of the same path may come again.
    if (!maker || maker.ended) makers.set(place, (maker = new Maker(node)));
    return maker.make(wordsIn(words, options?.peerOutside === false ? undefined : node));
  };
}
