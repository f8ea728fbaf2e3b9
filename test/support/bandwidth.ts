/** Two hosts joined by a veth, and traffic between them (test/helpers/bandwidth.c) whose rates are told. */
import { spawn, type ChildProcess, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { Host, sh } from "./network.js";
import { DIST, execute, inNode } from "./process.js";

export const BANDWIDTH = join(DIST, "test/helpers/bandwidth");
const HERE = "10.97.0.1";
export const THERE = "10.97.0.2";
const HERE6 = "fd97::1";
export const THERE6 = "fd97::2";
export const SINK = 32100;
export const SOURCE = 32101;

/** What the kernel has of each socket. */
export interface Sockets {
  /** The rate that it may be paced to, bytes/s; -1: any. */
  pacing: number[];
  /** The most that it may offer to receive, bytes. */
  clamps: number[];
}

export interface Flows extends Sockets {
  ms: number;
  /** Of each flow: acknowledged, or received. */
  bytes: number[];
  /** The same of all in the first second; -1: it did not last that long. */
  first: number;
  /** Bytes/s of those that go on, from 100 ms after others have stopped; -1: none has stopped. */
  rest: number;
  retransmitted: number;
  /** Of which the receiver had had already, and said so. */
  needless: number;
}

export interface Datagrams {
  ms: number;
  sent: number;
  /** ENOBUFS, EPERM, EAGAIN. */
  full: number;
  denied: number;
  again: number;
  other: number;
}

/** (sum x)^2 / (n * sum x^2): 1 where all have the same. */
export function jain(values: readonly number[]): number {
  const sum = values.reduce((a, b) => a + b, 0);
  const squares = values.reduce((a, b) => a + b * b, 0);
  return (sum * sum) / (values.length * squares);
}

export class Link {
  private readonly children: ChildProcess[] = [];

  private constructor(readonly far: Host) {}

  /**
   * Makes the far host with a sink and a source. The caller is in a network namespace of its own.
   * @param words more of the source's
   */
  static async create(...words: string[]): Promise<Link> {
    const link = new Link(await Host.create());
    sh("ip", "link", "add", "near", "type", "veth", "peer", "name", "far", "netns", `${link.far.pid}`);
    sh("ip", "addr", "add", `${HERE}/24`, "dev", "near");
    sh("ip", "addr", "add", `${HERE6}/64`, "dev", "near", "nodad");
    sh("ip", "link", "set", "near", "up");
    link.far.run("ip", "addr", "add", `${THERE}/24`, "dev", "far");
    link.far.run("ip", "addr", "add", `${THERE6}/64`, "dev", "far", "nodad");
    link.far.run("ip", "link", "set", "far", "up");
    await link.serve(link.far.command(BANDWIDTH, "sink", "to=::", `port=${SINK}`));
    await link.serve(link.far.command(BANDWIDTH, "source", `port=${SOURCE}`, ...words));
    return link;
  }

  /** Starts a server that says when it is ready. */
  async serve([file = "", ...args]: readonly string[]): Promise<void> {
    const child = spawn(file, args, { stdio: ["ignore", "pipe", "inherit"] });
    this.children.push(child);
    await once(child.stdout, "data");
  }

  close(): void {
    for (const child of this.children) child.kill("SIGKILL");
    this.far.close();
  }
}

/** @param words as test/helpers/bandwidth.c has them */
export async function traffic<T>(node: CgroupNode | undefined, words: string): Promise<T> {
  const command = [BANDWIDTH, ...words.split(" ")];
  const { status, stdout, stderr } = await execute(node ? inNode(node, command) : command);
  if (status !== 0) throw new Error(`${words}: exit ${status}: ${stdout}${stderr}`);
  return JSON.parse(stdout) as T;
}

/** Connections that are there for as long as a test wants, and send when it says so. */
export class Held {
  private constructor(
    private readonly child: ChildProcessByStdio<Writable, Readable, null>,
    private readonly lines: AsyncIterator<string, undefined>,
  ) {}

  /** @param words as test/helpers/bandwidth.c has them */
  static async connect(node: CgroupNode, words: string): Promise<Held> {
    const [file = "", ...args] = inNode(node, [BANDWIDTH, "hold", ...words.split(" ")]);
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    const held = new Held(child, createInterface({ input: child.stdout })[Symbol.asyncIterator]());
    const first = await held.line();
    if (first !== "mark") throw new Error(`${words}: ${first}`);
    return held;
  }

  private async line(): Promise<string> {
    return (await this.lines.next()).value ?? "it has ended";
  }

  /** Has each send something that is acknowledged. */
  async send(): Promise<Sockets> {
    this.child.stdin.write("send\n");
    return JSON.parse(await this.line()) as Sockets;
  }

  close(): void {
    this.child.kill("SIGKILL");
  }
}
