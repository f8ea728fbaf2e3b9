/** A task that connects as a test tells it (test/helpers/connections.c), and servers for it to connect to. */
import { spawn, type ChildProcess } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { after } from "node:test";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { DIST, inNode } from "./process.js";
import { until } from "./wait.js";

export class Connector {
  private readonly lines: Interface;
  private readonly waiting: ((line: string) => void)[] = [];

  private constructor(private readonly child: ChildProcess) {
    if (!child.stdout) throw new Error("no stdout");
    this.lines = createInterface(child.stdout);
    this.lines.on("line", (line) => this.waiting.shift()?.(line));
    this.lines.on("close", () => {
      for (const give of this.waiting.splice(0)) give("error EPIPE");
    });
  }

  /**
   * @param node that the task is in; outside of every container if not given
   * @param stays it is the caller's to kill; else it is ended after the test
   */
  static start(node?: CgroupNode, stays = false): Connector {
    const command = [join(DIST, "test/helpers/connections")];
    const [file = "", ...args] = node ? inNode(node, command) : command;
    const child = spawn(file, args, { stdio: ["pipe", "pipe", "inherit"] });
    const connector = new Connector(child);
    if (!stays) after(() => connector.kill());
    return connector;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** The answer to a command: the numbers after "ok", or the name of an errno. */
  async tell(command: string): Promise<number[] | string> {
    const line = await new Promise<string>((resolve) => {
      this.waiting.push(resolve);
      this.child.stdin?.write(`${command}\n`);
    });
    const [word, ...rest] = line.split(" ");
    return word === "ok" ? rest.map(Number) : (rest[0] ?? "");
  }

  /** A socket. @returns its file descriptor */
  async socket(kind = "tcp", family = 4): Promise<number> {
    const answer = await this.tell(`socket ${kind} ${family}`);
    if (typeof answer === "string") throw new Error(`socket(): ${answer}`);
    return answer[0] ?? -1;
  }

  /** "ok" or the name of an errno. */
  async try(command: string): Promise<string> {
    const answer = await this.tell(command);
    return typeof answer === "string" ? answer : "ok";
  }

  /** Connects a new socket. @returns "ok" or the name of an errno, and the file descriptor */
  async connect(port: number, { kind = "tcp", family = 4, to = "127.0.0.1" } = {}) {
    const fd = await this.socket(kind, family);
    return { fd, result: await this.try(`connect ${fd} ${to} ${port}`) };
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exited = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await exited;
  }
}

/** Accepts and keeps what connects to it, in a process of its own outside of every container. */
export class Listener {
  private constructor(
    private readonly process: Connector,
    readonly port: number,
  ) {}

  /** @param parts it closes what it accepts at once */
  static async start(host = "127.0.0.1", stays = false, parts = false): Promise<Listener> {
    const process = Connector.start(undefined, stays);
    const answer = await process.tell(`listen ${host} 0 ${parts ? "close" : "keep"}`);
    if (typeof answer === "string") throw new Error(`listen(): ${answer}`);
    return new Listener(process, answer[0] ?? 0);
  }

  /** Waits until it has accepted so many. */
  async accepted(count: number): Promise<void> {
    await until(
      async () => (await this.process.tell("accepted"))[0] === count || undefined,
      `${count} are accepted`,
    );
  }

  /** Closes what it has accepted, from this end. */
  async drop(how: "end" | "reset"): Promise<void> {
    await this.process.tell(`drop ${how}`);
  }

  close(): Promise<void> {
    return this.process.kill();
  }
}

/** A UDP port that takes what comes. */
export async function receiver(host = "127.0.0.1"): Promise<number> {
  const socket = createSocket(host.includes(":") ? "udp6" : "udp4");
  socket.bind(0, host);
  await once(socket, "listening");
  socket.unref();
  after(() => {
    socket.close();
  });
  return socket.address().port;
}
