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
import { codecs } from "../../isolator/mesos/messages.js";
import { socketPath } from "../../isolator/protocol/client.js";
import { configOf, endTask, idOf, startTasks } from "./lib/agent.js";
import { repository } from "./lib/build.js";
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

  /** @returns ms that the call took in the program, and its answer */
  async call(call: string, more: object): Promise<{ ms: number; ready?: object }> {
    const n = this.next++;
    const answer = new Promise<{ ms: number; failed?: string; ready?: object }>((resolve) => {
      this.waiting.set(n, resolve);
    });
    this.child.stdin.write(`${JSON.stringify({ n, call, ...more })}\n`);
    const { failed, ...rest } = await answer;
    if (failed !== undefined) throw new Error(`${call}: ${failed}`);
    return rest;
  }
}

const jsonId = (container: number): object => codecs.ContainerID.toJson(idOf(container));
const jsonConfig = (container: number): object => codecs.ContainerConfig.toJson(configOf(container));

interface Figures {
  /** ms of each. */
  prepare: number[];
  isolate: number[];
  /** Both of one launch. */
  launch: number[];
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
  const figures: Figures = { prepare: [], isolate: [], launch: [], usage: [] };
  for (const [index, pid] of (await startTasks(WARM_UP + launches, cleanup)).entries()) {
    const id = jsonId(index);
    const { ms: prepare } = await driver.call("prepare", { id, config: jsonConfig(index) });
    const { ms: isolate } = await driver.call("isolate", { id, pid });
    await endTask(pid);
    await driver.call("cleanup", { id });
    if (index < WARM_UP) continue;
    figures.prepare.push(prepare);
    figures.isolate.push(isolate);
    figures.launch.push(prepare + isolate);
  }
  const all = Array.from({ length: CONTAINERS }, (_, i) => launches + WARM_UP + i);
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

function report({ prepare, isolate, launch, usage }: Figures): string {
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
    row(`usage of ${CONTAINERS} containers asked at once, until the last answer`, usage, USAGE_TARGET),
  ],
)}

${launch.length} launches one after another, ${usage.length} rounds of usage; the module is built with -O3, what of Mesos and libprocess it
runs in as MESOS_ROOT has it. ${machineLine()}. Made by \`npm run ${NAME} -- --write\`.
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
