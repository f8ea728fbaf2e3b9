/**
 * bench:module: what the Mesos module and a daemon behind it add to an agent's calls, with a real libprocess program that makes
 * them. Needs MESOS_ROOT, as the module's tests do. Writes its table into isolator/module/README.md.
 */
import { spawn, spawnSync, type ChildProcessByStdio } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { codecs } from "../../isolator/mesos/messages.js";
import { socketPath } from "../../isolator/protocol/client.js";
import { configOf, endTask, idOf, startTasks } from "./lib/agent.js";
import { repository } from "./lib/build.js";
import { makeNode, makeRoot, moveInto } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { DaemonProcess, makeInstance, sweepInstances } from "./lib/daemon-process.js";
import { machineLine, requireMachine } from "./lib/machine.js";
import { deliver, readModuleOptions } from "./lib/options.js";
import { quantile, spread } from "./lib/stats.js";
import { table } from "./lib/table.js";
import { runBench } from "./lib/run.js";

const NAME = "bench:module";
const README = "isolator/module/README.md";
/** Of one machine, as the issue of slow statistics has them. */
const CONTAINERS = 500;
/** Not counted: the daemon's code is not compiled yet. */
const WARM_UP = 30;
/** ms between launches: the agent has delivered what came before. */
const PAUSE = 20;
/** A container that is never prepared. */
const UNKNOWN = 1_000_000;
/** ms. */
const LAUNCH_TARGET = 5;
const USAGE_TARGET = 250;

function cmake(...args: string[]): void {
  const { status, stdout, stderr } = spawnSync("cmake", args, { encoding: "utf8", cwd: repository() });
  if (status !== 0) throw new Error(`cmake ${args.join(" ")}:\n${stdout}\n${stderr}`);
}

/** A program with the module in it (test/module/driver.cpp). */
class Driver {
  private next = 1;
  private readonly waiting = new Map<
    number,
    (answer: { ms: number; failed?: string; ready?: object }) => void
  >();

  private constructor(private readonly child: ChildProcessByStdio<Writable, Readable, null>) {}

  static async start(directory: string, socket: string, cleanup: Cleanup): Promise<Driver> {
    const parameters = JSON.stringify({ parameter: [{ key: "socket", value: socket }] });
    const args = [join(directory, "module/libbpf_isolator.so"), parameters];
    const child = spawn(join(directory, "driver"), args, {
      stdio: ["pipe", "pipe", "ignore"],
      env: { ...process.env, LIBPROCESS_IP: "127.0.0.1" },
    });
    cleanup.add("ending the driver", () => {
      child.kill("SIGKILL");
    });
    const lines = createInterface({ input: child.stdout });
    await Promise.race([
      once(lines, "line"),
      once(child, "exit").then(() => Promise.reject(new Error("the driver does not start"))),
    ]);
    const driver = new Driver(child);
    lines.on("line", (line) => {
      const { n, ...answer } = JSON.parse(line) as { n: number; ms: number };
      driver.waiting.get(n)?.(answer);
      driver.waiting.delete(n);
    });
    return driver;
  }

  /** Makes a call. @returns its number */
  start(call: string, more: object): number {
    const n = this.next++;
    this.child.stdin.write(`${JSON.stringify({ n, call, ...more })}\n`);
    return n;
  }

  /** @returns ms that the call took in the program, and its answer */
  async call(call: string, more: object): Promise<{ ms: number; ready?: object }> {
    const n = this.start(call, more);
    const answer = new Promise<{ ms: number; failed?: string; ready?: object }>((resolve) => {
      this.waiting.set(n, resolve);
    });
    const { failed, ...rest } = await answer;
    if (failed !== undefined) throw new Error(`${call}: ${failed}`);
    return rest;
  }
}

const jsonId = (container: number): object => codecs.ContainerID.toJson(idOf(container));
const jsonConfig = (container: number): object => codecs.ContainerConfig.toJson(configOf(container));
const jsonResources = (container: number): object[] =>
  (configOf(container).resources ?? []).map((resource) => codecs.Resource.toJson(resource));

interface Figures {
  /** ms of each. */
  prepare: number[];
  isolate: number[];
  /** Before the executor gets its tasks. */
  update: number[];
  /** prepare and isolate of one launch. */
  launch: number[];
  /** Prepare right behind another container's cleanup, which it waits for. */
  behind: number[];
  /** A call that the daemon has nothing to do for. */
  idle: number[];
  /** All containers at once. */
  usage: number[];
}

async function measure(launches: number, repeats: number, cleanup: Cleanup): Promise<Figures> {
  const directory = join(repository(), "dist/module-release");
  const root = `-DMESOS_ROOT=${process.env["MESOS_ROOT"] ?? ""}`;
  cmake("-S", "test/module", "-B", directory, root, "-DCMAKE_BUILD_TYPE=Release");
  cmake("--build", directory);
  const config = join(directory, "isolator.yaml");
  writeFileSync(config, "");
  await sweepInstances(config);
  const name = makeInstance("module", config, cleanup);
  await DaemonProcess.start(name, config, cleanup);
  const driver = await Driver.start(directory, socketPath(name), cleanup);
  await driver.call("recover", { states: [], orphans: [] });
  const figures: Figures = {
    ...{ prepare: [], isolate: [], launch: [], update: [] },
    ...{ behind: [], idle: [], usage: [] },
  };
  const unknown = jsonId(UNKNOWN);
  const launcher = makeNode(makeRoot(cleanup), "launcher");
  for (const [index, pid] of (await startTasks(WARM_UP + 2 * launches, cleanup)).entries()) {
    // Every second one right behind the cleanup of the one before.
    const behind = index >= WARM_UP && (index - WARM_UP) % 2 === 1;
    if (!behind) await sleep(PAUSE);
    const id = jsonId(index);
    const { ms: idle } = behind ? { ms: 0 } : await driver.call("usage", { id: unknown });
    const { ms: prepare } = await driver.call("prepare", { id, config: jsonConfig(index) });
    // In the order of an agent, which does not wait for this one.
    driver.start("watch", { id });
    moveInto(launcher, pid);
    const { ms: isolate } = await driver.call("isolate", { id, pid });
    const { ms: update } = await driver.call("update", { id, resources: jsonResources(index) });
    await endTask(pid);
    await driver.call("cleanup", { id });
    if (index < WARM_UP) continue;
    if (behind) {
      figures.behind.push(prepare);
      continue;
    }
    figures.idle.push(idle);
    figures.prepare.push(prepare);
    figures.isolate.push(isolate);
    figures.launch.push(prepare + isolate);
    figures.update.push(update);
  }
  const all = Array.from({ length: CONTAINERS }, (_, i) => 2 * launches + WARM_UP + i);
  for (const container of all)
    await driver.call("prepare", { id: jsonId(container), config: jsonConfig(container) });
  const ids = all.map(jsonId);
  for (let repeat = -5; repeat < repeats; repeat++) {
    const { ms, ready } = await driver.call("usages", { ids });
    const answered = (ready as { net_rx_packets?: number } | undefined)?.net_rx_packets;
    if (answered !== CONTAINERS) throw new Error(`${answered ?? 0} of ${CONTAINERS} have figures`);
    if (repeat >= 0) figures.usage.push(ms);
  }
  for (const container of all) await driver.call("cleanup", { id: jsonId(container) });
  return figures;
}

const ms = (value: number): string => `${value < 10 ? value.toFixed(2) : value.toFixed(0)} ms`;

function report({ prepare, isolate, launch, update, behind, idle, usage }: Figures): string {
  const row = (what: string, values: readonly number[], target?: number): string[] => {
    const { median } = spread(values);
    const verdict = target === undefined ? "" : `≤ ${target} ms: ${median <= target ? "met" : "**missed**"}`;
    return [what, ms(median), ms(quantile(values, 0.95)), verdict];
  };
  return `
${table(
  ["", "p50", "p95", "target of p50"],
  [
    row("added to a launch: prepare and isolate", launch, LAUNCH_TARGET),
    row("· prepare", prepare),
    row("· isolate", isolate),
    row("update, before an executor gets its tasks", update),
    row("in comparison: a call that the daemon has nothing to do for", idle),
    row("prepare right behind the cleanup of another container, which it waits for", behind),
    row(`usage of ${CONTAINERS} containers asked at once, until the last answer`, usage, USAGE_TARGET),
  ],
)}

${launch.length} launches of each kind, with watch and update as an agent calls them, and ${usage.length} rounds of usage; the module is built with -O3,
what of Mesos and libprocess it runs in as MESOS_ROOT has it. Before each isolate the benchmark puts the process into a
cgroup, as Mesos's linux launcher does. A launch is two calls: twice what the comparison has is module, libprocess and HTTP,
the rest is the daemon's work. ${machineLine()}. Made by \`npm run ${NAME} -- --write\`.
`;
}

async function main(): Promise<void> {
  const options = readModuleOptions(NAME, README);
  if (!options) return;
  if (process.env["MESOS_ROOT"] === undefined)
    throw new Error("MESOS_ROOT is not set: give the prefix of an installed Mesos");
  requireMachine();
  const figures = await withCleanup((cleanup) => measure(options.launches, options.repeats, cleanup));
  await deliver(options, NAME, report(figures), { machine: machineLine(), ...figures }, README);
}

await runBench(NAME, main);
