/** A process as an agent makes it for a container: it is there before isolate(), and everything it starts is its child. */
import { spawn, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { after } from "node:test";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { ATTEMPT, inNode, type Outcome } from "./process.js";

type Child = ChildProcessByStdio<Writable, Readable, null>;

/** All of this test process's; whatever a test fails at, none stays. */
const children = new Set<Child>();
after(() => {
  for (const child of children) child.kill("SIGKILL");
});

function start(command: readonly string[]): Child {
  const [file = "", ...args] = command;
  const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.on("error", () => undefined);
  children.add(child);
  child.once("exit", () => children.delete(child));
  return child;
}

export class Task {
  private readonly lines: AsyncIterator<string, undefined>;

  private constructor(private readonly child: Child) {
    this.lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  /** A shell that does what it is told on its stdin. */
  static async start(): Promise<Task> {
    return Task.ready(start(["/bin/sh"]));
  }

  /** The same in a network namespace of its own, with loopback up. */
  static async apart(): Promise<Task> {
    return Task.ready(start(["unshare", "--net", "/bin/sh", "-c", "ip link set lo up; exec /bin/sh"]));
  }

  private static async ready(child: Child): Promise<Task> {
    const task = new Task(child);
    await task.say("echo ready");
    return task;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Path of the cgroup that it is in, below the mount. */
  get cgroup(): string {
    const path = /^0::(.*)$/m.exec(readFileSync(`/proc/${this.pid}/cgroup`, "utf8"))?.[1] ?? "";
    return requireCgroup2() + path;
  }

  /** Runs a line of shell in it. @returns the first line that is printed @throws when it is gone */
  private async say(line: string): Promise<string> {
    this.child.stdin.write(`${line}\n`);
    const next = await this.lines.next();
    if (next.done === true) throw new Error(`process ${this.pid} is gone`);
    return next.value;
  }

  /** An attempt (test/helpers/attempt.c) by a child of it. */
  async attempt(words: string): Promise<Outcome> {
    const output = await this.say(`${ATTEMPT} ${words} peer-cgroup=${requireCgroup2()}`);
    const outcome = JSON.parse(output) as Omit<Outcome, "status">;
    return { status: outcome.ok ? 0 : 1, ...outcome };
  }

  /** Whether it may bind a port; anything but that or a refusal by the policy is an error. */
  async mayBind(port: number): Promise<boolean> {
    const { ok, errno, step } = await this.attempt(`bind port=${port}`);
    if (!ok && errno !== "EPERM") throw new Error(`bind to ${port} failed at ${step}: ${errno}`);
    return ok;
  }

  get ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  async end(): Promise<void> {
    if (this.ended) return;
    const exited = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exited;
  }
}

/** A TCP server in a node that stays until it is closed. @returns its process id, and how to end it */
export async function hold(port: number, node: CgroupNode): Promise<{ pid: number; close: () => void }> {
  const child = start(inNode(node, [ATTEMPT, "hold", `port=${port}`]));
  const [line] = (await once(child.stdout, "data")) as unknown[];
  const { ok } = JSON.parse(String(line)) as Outcome;
  if (!ok) throw new Error(`no server on ${port}: ${String(line)}`);
  return { pid: child.pid ?? 0, close: () => child.kill("SIGKILL") };
}

/** Whether somebody accepts and answers on a port of this network. */
export async function answers(port: number): Promise<boolean> {
  const socket = createConnection({ host: "127.0.0.1", port });
  try {
    socket.write("ping");
    const [data] = (await Promise.race([once(socket, "data"), once(socket, "close")])) as unknown[];
    return String(data) === "ping";
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
