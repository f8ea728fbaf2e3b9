/** `bpf-isolator serve` as a process, in an instance of the benchmark's own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  statfsSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ConfigHolder } from "../../../isolator/config/holder.js";
import { EventLog } from "../../../isolator/containers/event-log.js";
import { Instance, STATE_ROOT } from "../../../isolator/containers/instance.js";
import { Isolator } from "../../../isolator/containers/isolator.js";
import { pinRoot } from "../../../isolator/kernel/pins.js";
import { socketPath } from "../../../isolator/protocol/client.js";
import { REQUESTS } from "./agent.js";
import { isAlive } from "./cgroup.js";
import type { Cleanup } from "./cleanup.js";
import { run } from "./command.js";
import type { LoopDelay } from "./loop-delay.js";
import { builtCommand, nodeOptions } from "./variants.js";
import { Connection } from "./wire.js";

const PREFIX = "benchd-";
const PRELOADED = fileURLToPath(new URL("loop-delay.js", import.meta.url));
/** ms between two tries to connect to a daemon that starts. */
const RETRY = 1;
/** ms. */
const START_TIMEOUT = 60_000;
/** ms. */
const RELOAD_TIMEOUT = 60_000;

/** TMPFS_MAGIC of linux/magic.h. */
const TMPFS = 0x01021994;

function isTmpfs(path: string): boolean {
  return statfsSync(path).type === TMPFS;
}

/**
 * Makes an instance of this process's, removed by `cleanup`.
 *
 * Its state is on a tmpfs, as /run is wherever systemd runs: where /run is part of a disk (containers, build machines),
 * one is mounted on its directory, and other programs' writes to that disk are not measured.
 * @param purpose a word for its name
 * @returns its name
 */
export function makeInstance(purpose: string, config: string, cleanup: Cleanup): string {
  const name = `${PREFIX}${process.pid}-${purpose}`;
  const directory = join(STATE_ROOT, name);
  cleanup.add(`removing instance ${name}`, () => removeInstance(name, config));
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!isTmpfs(directory)) run("mount", "-t", "tmpfs", "-o", "mode=0700", "none", directory);
  return name;
}

export class DaemonProcess {
  #log = "";

  private constructor(
    private readonly child: ChildProcess,
    readonly instance: string,
  ) {
    for (const stream of [child.stdout, child.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.#log = (this.#log + text).slice(-2000);
      });
    }
  }

  /**
   * Starts a daemon and waits for its first answer.
   * @param config path of its configuration
   * @returns with the ms from fork to that answer
   */
  static async start(
    instance: string,
    config: string,
    cleanup: Cleanup,
  ): Promise<{ daemon: DaemonProcess; ms: number }> {
    const request = REQUESTS.handshake();
    const from = performance.now();
    const child = spawn(
      process.execPath,
      [
        ...[...nodeOptions(), "--import", PRELOADED, builtCommand()],
        ...["serve", "--instance", instance, "--config", config],
      ],
      { stdio: ["ignore", "pipe", "pipe", "ipc"] },
    );
    const daemon = new DaemonProcess(child, instance);
    cleanup.add(`stopping the daemon of ${instance}`, () => daemon.stop());
    const connection = await daemon.#firstConnection(from + START_TIMEOUT);
    await connection.call(request);
    const ms = performance.now() - from;
    connection.close();
    return { daemon, ms };
  }

  async #firstConnection(deadline: number): Promise<Connection> {
    for (;;) {
      if (this.#ended || performance.now() > deadline)
        throw new Error(`the daemon of ${this.instance} does not answer: ${this.#log.trim()}`);
      try {
        return await this.connect();
      } catch {
        await sleep(RETRY);
      }
    }
  }

  get #ended(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  connect(): Promise<Connection> {
    return Connection.open(socketPath(this.instance));
  }

  /** How long its event loop was blocked since the last question, or its start. */
  async loopDelay(): Promise<LoopDelay> {
    const answer = once(this.child, "message");
    this.child.send({});
    const [delay] = (await answer) as [LoopDelay];
    return delay;
  }

  /** Gives it another configuration, and waits until that is in force for all. @param config path @param text of it */
  async reload(config: string, text: string): Promise<void> {
    writeFileSync(config, text);
    this.#log = "";
    this.child.kill("SIGHUP");
    const deadline = performance.now() + RELOAD_TIMEOUT;
    while (!this.#log.includes(`the configuration was read again: ${config}`)) {
      if (this.#ended || performance.now() > deadline)
        throw new Error(`the daemon of ${this.instance} has no other configuration: ${this.#log.trim()}`);
      await sleep(RETRY);
    }
  }

  /** Resident bytes now, and the most so far. */
  memory(): { resident: number; most: number } {
    const text = readFileSync(`/proc/${this.child.pid ?? 0}/status`, "utf8");
    const value = (name: string): number =>
      1024 * Number(new RegExp(`^${name}:\\s*(\\d+) kB$`, "m").exec(text)?.[1] ?? NaN);
    return { resident: value("VmRSS"), most: value("VmHWM") };
  }

  /** Ends it; its containers stay. Safe to repeat. */
  async stop(): Promise<void> {
    if (this.#ended) return;
    const exited = once(this.child, "exit");
    this.child.kill("SIGTERM");
    const [code] = (await exited) as [number | null];
    if (code !== 0)
      throw new Error(`the daemon of ${this.instance} ended with ${code ?? "a signal"}: ${this.#log.trim()}`);
  }
}

/** Runs `use` with the daemon's life cycle in this process, and then removes every container of the instance. */
export async function withIsolator<T>(
  name: string,
  holder: ConfigHolder,
  use: (isolator: Isolator) => Promise<T>,
): Promise<T> {
  const isolator = await Isolator.start(Instance.open(name), holder.config, new EventLog());
  try {
    return await use(isolator);
  } finally {
    // An agent that knows none.
    await isolator.recover([], []);
    await isolator.stop();
  }
}

/** Removes an instance with all of its containers. Missing is fine. @throws Error that names what is left */
async function removeInstance(name: string, config: string): Promise<void> {
  const directory = join(STATE_ROOT, name);
  const { root } = Instance.open(name);
  if (existsSync(directory)) {
    await withIsolator(name, ConfigHolder.open(config), () => Promise.resolve());
    // Gone, or emptied where a file system is mounted on it.
    if (existsSync(directory) && !isTmpfs(STATE_ROOT)) run("umount", directory);
    if (existsSync(directory)) rmdirSync(directory);
  }
  const left = [pinRoot(name), root].filter((path) => existsSync(path));
  if (left.length > 0) throw new Error(`left behind: ${left.join(", ")}`);
}

/** Removes the instances of benchmarks that were killed before they could. */
export async function sweepInstances(config: string): Promise<void> {
  if (!existsSync(STATE_ROOT)) return;
  for (const name of readdirSync(STATE_ROOT)) {
    if (name.startsWith(PREFIX) && !isAlive(parseInt(name.slice(PREFIX.length), 10)))
      await removeInstance(name, config);
  }
}
