/**
 * bench:daemon: what a daemon takes as a process, over its socket, alone and with many containers: each with a process
 * in it and a WATCH stream, as an agent has them. The method is in the text that it writes.
 */
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigHolder } from "../../isolator/config/holder.js";
import { readVersion } from "../../isolator/cli/version.js";
import { codecs } from "../../isolator/mesos/messages.js";
import { Daemon } from "../../isolator/protocol/daemon.js";
import { REQUESTS, endTask, firstPort, startTasks } from "./lib/agent.js";
import { build } from "./lib/build.js";
import { makeNode, makeRoot, moveInto } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { DaemonProcess, makeInstance, sweepInstances, withIsolator } from "./lib/daemon-process.js";
import { MOST } from "./lib/fleet.js";
import type { LoopDelay } from "./lib/loop-delay.js";
import { machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { type DaemonOptions, deliver, readDaemonOptions } from "./lib/options.js";
import { Programs } from "./lib/programs.js";
import { type Figures, report, WARM_UP } from "./lib/daemon-report.js";
import { type Side, compare } from "./lib/scale.js";
import { makeNetwork } from "./lib/topology.js";
import { type Setting, startPeer, startPlain } from "./lib/variants.js";
import type { Connection } from "./lib/wire.js";
import { runBench } from "./lib/run.js";

/** Under it each container has another policy. */
const OTHER_CONFIG = "enforce: audit\n";
/** ms in which a daemon reads what was told of the containers that it has taken up. */
const AFTER_START = 3000;
/** The same as WARM_UP of what is done for all containers at once. */
const WARM_UP_ALL = 5;

/** ms. */
export interface Cycle {
  prepare: number;
  isolate: number;
  cleanup: number;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const from = performance.now();
  await work();
  return performance.now() - from;
}

/**
 * One container after the other, from prepare to cleanup.
 * @param container a number that is free
 * @param launcher node that its process is put into before the isolator is asked
 */
async function cycles(
  connection: Connection,
  container: number,
  launcher: string,
  count: number,
  cleanup: Cleanup,
): Promise<Cycle[]> {
  const taken: Cycle[] = [];
  for (const [index, pid] of (await startTasks(WARM_UP + count, cleanup)).entries()) {
    const cycle = { prepare: 0, isolate: 0, cleanup: 0 };
    cycle.prepare = await timed(() => connection.call(REQUESTS.prepare(container)));
    moveInto(launcher, pid);
    cycle.isolate = await timed(() => connection.call(REQUESTS.isolate(container, pid)));
    await endTask(pid);
    cycle.cleanup = await timed(() => connection.call(REQUESTS.cleanup(container)));
    if (index >= WARM_UP) taken.push(cycle);
  }
  return taken;
}

/** Starts and ends a daemon some times; the last one stays. */
async function starts(
  instance: string,
  config: string,
  count: number,
  cleanup: Cleanup,
): Promise<{ daemon: DaemonProcess; ms: number[] }> {
  const ms: number[] = [];
  for (;;) {
    const started = await DaemonProcess.start(instance, config, cleanup);
    ms.push(started.ms);
    if (ms.length >= count) return { daemon: started.daemon, ms };
    await started.daemon.stop();
  }
}

/** Starts a load process and puts it into a container of a daemon. */
async function startSide(setting: Setting, connection: Connection, container: number): Promise<Side> {
  const { host } = setting.network;
  const task = await startPlain(setting, `container ${container}`, host.namespace);
  await connection.call(REQUESTS.prepare(container));
  await connection.call(REQUESTS.isolate(container, task.pid));
  const port = firstPort(container);
  await task.command(`open ${port}`);
  return { task, host, port, programs: new Programs(task.pid, setting.cleanup) };
}

/** Where operators ask the daemon. */
async function addressFor(connection: Connection): Promise<string> {
  const { get_status } = codecs.Response.decode(await connection.call(REQUESTS.getStatus()));
  const address = get_status?.status?.operator_address;
  if (address === undefined) throw new Error("the daemon has no server for operators");
  return address;
}

async function get(operator: string, path: string): Promise<void> {
  const response = await fetch(`http://${operator}${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  await response.arrayBuffer();
}

/** ms of each, one after another. */
async function each<T>(items: readonly T[], work: (item: T) => Promise<unknown>): Promise<number[]> {
  const ms: number[] = [];
  for (const item of items) ms.push(await timed(() => work(item)));
  return ms;
}

async function measure(options: DaemonOptions, cleanup: Cleanup): Promise<Figures> {
  const { containers, pairs, repeats } = options;
  const say = (what: string) => process.stderr.write(`${what}\n`);
  const built = build(cleanup);
  const config = join(dirname(built.load), "isolator.yaml");
  writeFileSync(config, "");
  await sweepInstances(config);
  const name = makeInstance("many", config, cleanup);
  const nameOfOne = makeInstance("one", config, cleanup);
  const delays: Record<string, LoopDelay> = {};

  say("starts");
  const first = await starts(name, config, repeats, cleanup);
  const { daemon } = first;
  delays["start, no container"] = await daemon.loopDelay();
  const connection = await daemon.connect();
  say("the only container");
  const launcher = makeNode(makeRoot(cleanup), "launcher");
  const alone = await cycles(connection, containers, launcher, options.cycles, cleanup);
  delays["the only container"] = await daemon.loopDelay();

  say("hooks, one container in each of two instances");
  const network = makeNetwork(cleanup);
  const setting: Setting = { network, built, root: "", cpu: measuringCpu(), cleanup };
  const peer = await startPeer(setting);
  const { daemon: daemonOfOne } = await DaemonProcess.start(nameOfOne, config, cleanup);
  const one = await startSide(setting, await daemonOfOne.connect(), containers + 1);
  const other = await startSide(setting, connection, 0);
  const same = await compare(one, other, peer, pairs);

  say(`${containers} containers`);
  await daemon.loopDelay();
  const all = Array.from({ length: containers }, (_, container) => container);
  const call = (request: Buffer) => connection.call(request);
  // Number 0 has the load process; again it is answered as a call that was sent twice.
  const prepare = await each(all.map(REQUESTS.prepare), call);
  delays["prepare of all"] = await daemon.loopDelay();
  const pids = await startTasks(containers - 1, cleanup);
  const isolate = await each(
    pids.map((pid, index) => REQUESTS.isolate(index + 1, pid)),
    call,
  );
  await each(all.map(REQUESTS.watch), async (request) => (await daemon.connect()).call(request));
  delays["isolate and watch of all"] = await daemon.loopDelay();

  say("calls");
  const beside = await cycles(connection, containers, launcher, options.cycles, cleanup);
  delays["one more container"] = await daemon.loopDelay();
  const usages = all.map(REQUESTS.usage);
  const times = Array.from({ length: repeats }, (_, time) => time);
  const oneUsage: number[] = [];
  const usage = await each(times, async () => oneUsage.push(...(await each(usages, call))));
  delays["usage of all"] = await daemon.loopDelay();
  const list = await each(times, () => connection.call(REQUESTS.list()));
  delays["list"] = await daemon.loopDelay();
  const operator = await addressFor(connection);
  const scrape = await each(times, () => get(operator, "/metrics"));
  delays["scrape"] = await daemon.loopDelay();
  for (const path of ["/containers", "/monitor/statistics"]) await get(operator, path);
  delays["other pages"] = await daemon.loopDelay();
  const recover = await each([REQUESTS.recover(all)], call);
  delays["recover of all"] = await daemon.loopDelay();
  const reload = await each([OTHER_CONFIG, ""], (text) => daemon.reload(config, text));
  delays["another configuration"] = await daemon.loopDelay();
  const memory = daemon.memory();

  say("hooks, one container against many");
  const scale = await compare(one, other, peer, pairs);

  say("starts with containers to take up");
  await daemon.stop();
  const again = await starts(name, config, repeats, cleanup);
  delays["start, all containers"] = await again.daemon.loopDelay();
  await sleep(AFTER_START);
  delays["after the first answer"] = await again.daemon.loopDelay();
  await again.daemon.stop();

  say("inside the process");
  const inside = await measureInside(name, config, repeats);
  return {
    ...{
      containers,
      alone,
      beside,
      prepare,
      isolate,
      usage,
      oneUsage,
      list,
      scrape,
      recover,
      reload,
      memory,
      same,
      scale,
      delays,
      inside,
    },
    starts: { none: first.ms, all: again.ms },
  };
}

/** What the service takes with no socket. The containers are gone after it. */
async function measureInside(name: string, config: string, repeats: number): Promise<Figures["inside"]> {
  const holder = ConfigHolder.open(config);
  return withIsolator(name, holder, async (isolator) => {
    const service = new Daemon(isolator, holder, { version: readVersion(), instance: name, features: [] });
    const ids = isolator.list().map(({ id }) => id);
    const usage: number[] = [];
    const list: number[] = [];
    for (let repeat = -WARM_UP_ALL; repeat < repeats; repeat++) {
      const from = performance.now();
      for (const id of ids) service.usage(id);
      const between = performance.now();
      await service.list();
      if (repeat < 0) continue;
      usage.push(between - from);
      list.push(performance.now() - between);
    }
    return { usage, list };
  });
}

async function main(): Promise<void> {
  const options = readDaemonOptions("bench:daemon", MOST - 2);
  if (!options) return;
  requireMachine();
  const figures = await withCleanup((cleanup) => measure(options, cleanup));
  await deliver(options, "bench:daemon", report(figures), { machine: machineLine(), ...figures });
}

await runBench("bench:daemon", main);
