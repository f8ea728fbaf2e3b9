/**
 * bench:statistics: what one pass over the TCP sockets of a host takes, by which timewait, round trip times and segments
 * are known of all containers. The method is in the text that it writes.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import type { Container } from "../../isolator/containers/container.js";
import { liveConnections } from "../../isolator/features/statistics.js";
import { Connector, Listener } from "../support/connections.js";
import { enterOwnNetwork } from "../support/network.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { Fleet, MOST } from "./lib/fleet.js";
import { machineLine, requireMachine } from "./lib/machine.js";
import { deliver, readCount } from "./lib/options.js";
import { quantile } from "./lib/stats.js";
import { figure, table } from "./lib/table.js";
import { runBench } from "./lib/run.js";

/** Connections of each container; the other ends are outside. */
const EACH = 50;
/** Containers whose connections a process has: it may have 20,000 files. */
const GROUP = 250;
const RUNS = 15;
/** Not counted: the first ones meet code that is not compiled yet. */
const WARM_UP = 3;
/** The kernel has about 28,000 ports of its own for each address that is connected to. */
const ADDRESSES = 10;
/** No pass but those that are asked for. ms */
const NEVER = 24 * 3600 * 1000;
const TARGET = 100;

/** ms of passes. */
interface Passes {
  cpu: number[];
  wall: number[];
  /** The longest that the event loop was kept from its timers in one of them. */
  blocked: number[];
}

async function passes(container: Container): Promise<Passes> {
  const measured: Passes = { cpu: [], wall: [], blocked: [] };
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  for (let run = -WARM_UP; run < RUNS; run++) {
    await sleep(20);
    delay.reset();
    const [cpu, from] = [process.cpuUsage(), performance.now()];
    await container.releaseClosed();
    const wall = performance.now() - from;
    const { user, system } = process.cpuUsage(cpu);
    await sleep(20);
    if (run < 0) continue;
    measured.wall.push(wall);
    measured.cpu.push((user + system) / 1000);
    measured.blocked.push(delay.max / 1e6);
  }
  delay.disable();
  return measured;
}

/** Gives containers their connections, by two processes. */
async function connect(containers: readonly Container[], cleanup: Cleanup): Promise<void> {
  const listener = await Listener.start("0.0.0.0", true);
  cleanup.add("ending a listener", () => listener.close());
  const client = Connector.start(undefined, true);
  cleanup.add("ending a client", () => client.kill());
  for (const [index, container] of containers.entries()) {
    // A socket is the cgroup's that its maker is in then, wherever that goes later.
    await container.isolate(client.pid);
    const held = await client.tell(`hold ${EACH} tcp 127.0.0.${1 + (index % ADDRESSES)} ${listener.port}`);
    if (held[0] !== EACH) throw new Error(`${String(held)} of ${EACH} connections`);
  }
  await listener.accepted(containers.length * EACH);
}

async function measure(count: number, cleanup: Cleanup): Promise<{ none: Passes; all: Passes }> {
  const say = (what: string) => process.stderr.write(`${what}\n`);
  enterOwnNetwork();
  const fleet = await Fleet.open(cleanup);
  fleet.instance.sockets.keepStatistics(NEVER);
  say(`${count} containers`);
  while (fleet.size < count) await fleet.start();
  const [first] = fleet.containers;
  if (!first) throw new Error("there is no container");
  const none = await passes(first);
  say("connections");
  for (let begin = 0; begin < count; begin += GROUP)
    await connect(fleet.containers.slice(begin, begin + GROUP), cleanup);
  const live = fleet.containers.reduce(
    (sum, container) => sum + liveConnections(container.counts.usage()),
    0,
  );
  if (live !== count * EACH) throw new Error(`${live} connections are counted`);
  say("passes");
  return { none, all: await passes(first) };
}

function report(count: number, { none, all }: { none: Passes; all: Passes }): string {
  const sockets = 2 * EACH * count;
  const row = (what: string, { cpu, wall, blocked }: Passes, target: string): string[] => [
    what,
    ...[cpu, wall, blocked].map(
      (values) => `${figure(quantile(values, 0.5))} (${figure(quantile(values, 0.99))})`,
    ),
    target,
  ];
  const cpu = quantile(all.cpu, 0.5);
  return `
${machineLine()}. ms; median (p99) of ${RUNS} passes.

${table(
  [
    `${count} containers and`,
    "CPU time of the daemon",
    "until it is done",
    "event loop blocked, longest",
    "target",
  ],
  [
    row("no socket", none, ""),
    row(`${sockets} sockets`, all, `CPU ≤ ${TARGET} ms: ${cpu <= TARGET ? "met" : `**missed**`}`),
  ],
)}

In a network namespace of the benchmark's own. Each container has ${EACH} connections, whose other ends are outside of all
containers, so that half of the sockets are somebody's. CPU time is that of all threads of the process, the one in the
kernel included. Made by \`npm run bench:statistics\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readCount("bench:statistics", 1000);
  if (!options) return;
  if (options.containers > MOST) throw new Error(`--containers: there are ports for ${MOST} at the most`);
  requireMachine();
  const figures = await withCleanup((cleanup) => measure(options.containers, cleanup));
  await deliver(options, "bench:statistics", report(options.containers, figures), {
    machine: machineLine(),
    ...figures,
  });
}

await runBench("bench:statistics", main);
