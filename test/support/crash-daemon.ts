/** Daemons that tests kill, and what they have logged. */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { cgroupRoot, CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { bpf_isolator, fromContainerId, mesos } from "../../isolator/mesos/messages.js";
import { ProtocolClient } from "../../isolator/protocol/client.js";
import { assertNothingLeft } from "./instance.js";
import { Prober } from "./prober.js";
import { attempt, MAIN } from "./process.js";

const { Type } = bpf_isolator.Call;

type Id = readonly [string, ...string[]];

/** A line of the daemon's log. */
export interface LogLine {
  msg: string;
  event?: string;
  container?: string;
  count?: number;
  denial?: { port: number };
}

export interface DaemonOptions {
  /** Where it is to kill itself: BPF_ISOLATOR_KILL_AT. */
  killAt?: string;
  /** main.js of another build. */
  main?: string;
}

export interface Summary extends bpf_isolator.ContainerSummary {
  name: string;
}

/** [31000, 31004] as Mesos's resources. */
function resources(ports: readonly [number, number]): mesos.Resource[] {
  const range = { begin: BigInt(ports[0]), end: BigInt(ports[1]) };
  return [{ name: "ports", type: mesos.Value.Type.RANGES, ranges: { range: [range] } }];
}

let configFile: string | undefined;

/** All at its default, whatever this machine has in /etc. */
function emptyConfig(): string {
  if (configFile === undefined) {
    const file = join(tmpdir(), `bpf-isolator-test-${process.pid}.yaml`);
    writeFileSync(file, "");
    process.on("exit", () => {
      rmSync(file, { force: true });
    });
    configFile = file;
  }
  return configFile;
}

const daemons = new Set<CrashDaemon>();

/** A daemon as a process of its own, and the calls of an agent. */
export class CrashDaemon {
  readonly log: LogLine[] = [];
  /** Signal that it died of, or its exit status. */
  readonly ended: Promise<NodeJS.Signals | number>;
  private readonly client: ProtocolClient;
  private stderr = "";

  private constructor(
    private readonly child: ChildProcess,
    /** It answers. Rejects where it ends before. */
    readonly ready: Promise<void>,
    instance: string,
  ) {
    this.client = ProtocolClient.of(instance);
    const exited = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    this.ended = exited.then(([code, signal]) => signal ?? code ?? -1);
    daemons.add(this);
    void exited.then(() => daemons.delete(this));
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
  }

  /** Starts one, and does not wait for it. */
  static spawn(instance: string, { killAt, main = MAIN }: DaemonOptions = {}): CrashDaemon {
    const args = [main, "serve", "--instance", instance, "--config", emptyConfig()];
    const child = spawn(process.execPath, args, {
      env: { ...process.env, ...(killAt === undefined ? {} : { BPF_ISOLATOR_KILL_AT: killAt }) },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let isReady: () => void = () => undefined;
    let isNot: (error: Error) => void = () => undefined;
    const ready = new Promise<void>((resolve, reject) => {
      isReady = resolve;
      isNot = reject;
    });
    const daemon = new CrashDaemon(child, ready, instance);
    createInterface(child.stdout).on("line", (text) => {
      const line = JSON.parse(text) as LogLine;
      daemon.log.push(line);
      if (line.msg.startsWith("serving instance")) isReady();
    });
    void daemon.ended.then((how) => {
      isNot(new Error(`the daemon ended (${how}) before it answered: ${daemon.stderr}`));
    });
    // Who expects its end does not look at this one.
    ready.catch(() => undefined);
    return daemon;
  }

  /** Starts one that is to live. */
  static async start(instance: string, options: DaemonOptions = {}): Promise<CrashDaemon> {
    const daemon = CrashDaemon.spawn(instance, options);
    await daemon.ready;
    return daemon;
  }

  /** kill -9, and waits. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
    this.client.close();
  }

  /** Those that a failed test has left. */
  static async killAll(): Promise<void> {
    await Promise.all([...daemons].map((daemon) => daemon.kill()));
  }

  /** Ends it in order. */
  async stop(): Promise<void> {
    this.child.kill("SIGTERM");
    assert.equal(await this.ended, 0, this.stderr);
    this.client.close();
  }

  /** Waits for its death at the point that it was told. */
  async died(): Promise<void> {
    assert.equal(await this.ended, "SIGKILL", `it ended otherwise: ${this.stderr}`);
    this.client.close();
  }

  call(call: bpf_isolator.Call): Promise<bpf_isolator.Response> {
    return this.client.call(call);
  }

  /** @param ports none: those of its parent */
  async prepare(id: Id, ports?: readonly [number, number]): Promise<void> {
    const container_config = {
      directory: "/tmp",
      command_info: {},
      ...(ports ? { resources: resources(ports) } : {}),
    };
    await this.call({ type: Type.PREPARE, prepare: { container_id: fromContainerId(id), container_config } });
  }

  async isolate(id: Id, pid: number): Promise<void> {
    await this.call({ type: Type.ISOLATE, isolate: { container_id: fromContainerId(id), pid } });
  }

  async update(id: Id, ports: readonly [number, number]): Promise<void> {
    const update = { container_id: fromContainerId(id), resource_requests: resources(ports) };
    await this.call({ type: Type.UPDATE, update });
  }

  async cleanup(id: Id): Promise<void> {
    await this.call({ type: Type.CLEANUP, cleanup: { container_id: fromContainerId(id) } });
  }

  /** What an agent that knows these containers says after its own start. */
  async recover(ids: readonly Id[]): Promise<void> {
    const states = ids.map((id) => ({ container_id: fromContainerId(id), pid: 1n, directory: "/tmp" }));
    await this.call({ type: Type.RECOVER, recover: { states } });
  }

  /** By name. */
  async list(): Promise<Map<string, Summary>> {
    const { list } = await this.call({ type: Type.LIST });
    return new Map(
      (list?.containers ?? []).map((summary) => {
        const name = nameOf(summary.container_id);
        return [name, { ...summary, name }];
      }),
    );
  }

  async usage(id: Id): Promise<mesos.ResourceStatistics> {
    const { usage } = await this.call({ type: Type.USAGE, usage: { container_id: fromContainerId(id) } });
    assert(usage?.statistics);
    return usage.statistics;
  }
}

function nameOf(id: mesos.ContainerID | undefined): string {
  if (!id) return "";
  return id.parent ? `${nameOf(id.parent)}.${id.value}` : id.value;
}

/** Ports of the denials of a container that it has shown so far, in their order. */
export function denials({ log }: CrashDaemon, name: string): number[] {
  return log.flatMap(({ container, denial }) => (container === name && denial ? [denial.port] : []));
}

/** Whether an error is that of a daemon which went away. */
export function isGone(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "no-daemon";
}

/** A container's node, by the path that the daemon gives it. */
export function nodeOf(instance: string, id: Id): CgroupNode | undefined {
  return CgroupNode.open(join(cgroupRoot(requireCgroup2(), instance), ...id));
}

/** Fails where a process in the node may do what it may not, or may not do what it may. */
export async function assertEnforced(node: CgroupNode, own: number, foreign: number): Promise<void> {
  const [allowed, refused] = await Promise.all([
    attempt(`bind port=${own}`, node),
    attempt(`bind port=${foreign}`, node),
  ]);
  assert.equal(allowed.status, 0, `${node.path}: bind to its own port ${own}: ${allowed.errno}`);
  assert.deepEqual(
    [refused.status, refused.errno],
    [1, "EPERM"],
    `${node.path}: bind to ${foreign}, which is not its own`,
  );
}

/**
 * For the end of a file's tests, whether they failed or not: ends all that they have started, removes every container, and
 * fails where anything is left.
 * @param last called with the last daemon, before the containers are removed
 */
export async function endInstance(
  instance: string,
  last: (daemon: CrashDaemon) => Promise<void> = () => Promise.resolve(),
): Promise<void> {
  await CrashDaemon.killAll();
  const daemon = await CrashDaemon.start(instance);
  try {
    await last(daemon);
  } finally {
    const names = [...(await daemon.list()).keys()];
    for (const name of names) await daemon.cleanup(name.split(".") as [string, ...string[]]);
    await daemon.stop();
    await Prober.killAll();
  }
  assertNothingLeft(instance);
}
