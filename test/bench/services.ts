/**
 * bench:services: what a connection to a virtual address costs beside one to the backend itself, and beside a TCP proxy
 * and DNAT by iptables, on the path of bench:path; and whether that grows with services and backends.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Service } from "../../isolator/features/services.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import type { BpfMap } from "../../isolator/kernel/maps.js";
import { buildId } from "../../isolator/kernel/object.js";
import { openPinnedMap } from "../../isolator/kernel/pins.js";
import { SERVICE_MAPS } from "../../isolator/kernel/service-maps.js";
import { ServiceTable } from "../../isolator/kernel/service-table.js";
import { build } from "./lib/build.js";
import { makeRoot, nodeOf } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { inNamespace, script } from "./lib/command.js";
import { type Line, type Samples, measureLines } from "./lib/lines.js";
import { machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { deliver, readOptions } from "./lib/options.js";
import { type Spread, pairs as pairsOf, spread } from "./lib/stats.js";
import { table } from "./lib/table.js";
import { enableStatistics, Programs } from "./lib/programs.js";
import { type EventTimes, measureEvents } from "./lib/service-events.js";
import { makeNetwork } from "./lib/topology.js";
import {
  PEER_PORT,
  type Setting,
  type Variant,
  type VariantName,
  startBare,
  startOurs,
  startPeer,
  startVip,
  VIP,
} from "./lib/variants.js";
import { runBench } from "./lib/run.js";

/** Where DNAT goes from. */
const NATTED = "10.78.0.1";
/** Block of the backends of a service that has many. */
const MANY = "10.91";
const SERVICES = 10_000;
/** Events of each kind, from the master to the kernel. */
const EVENTS = 200;

const CONNECT: Line = {
  name: "TCP connect + close",
  worker: "task",
  command: ({ host }) => `connect ${host.peerAddress} ${PEER_PORT + 2}`,
  absolute: (ns) => `${(1e6 / ns).toFixed(1)} k/s`,
};
const ANSWER: Line = {
  name: "then a request and its answer",
  worker: "task",
  command: ({ host }) => `rr ${host.peerAddress} ${PEER_PORT}`,
  absolute: (ns) => `${(1e6 / ns).toFixed(1)} k/s`,
};

interface Ratio {
  name: string;
  line: string;
  spread: Spread;
}

/** Connections to as many backends, by the virtual address and directly. */
interface Step {
  name: string;
  spread: Spread;
  /** ns that all programs take for one. */
  programs: { direct: Spread; vip: Spread };
}

interface Result {
  ratios: Ratio[];
  steps: Step[];
  absolute: string[];
  events: EventTimes;
}

/** To each of so many backends by chance: as the virtual address does, so that all else is the same for both. */
function toEach(count: number): Line {
  return {
    ...CONNECT,
    command: (variant) =>
      variant.name === "vip" ? CONNECT.command(variant) : `spread ${count} ${MANY}.0.0 ${PEER_PORT + 2}`,
  };
}

/** What the programs of each take for a connection, by the kernel's own statistics. */
async function timePrograms(variants: readonly Variant[], line: Line, pairs: number): Promise<Spread[]> {
  return withCleanup(async (cleanup) => {
    enableStatistics(cleanup);
    const all = variants.map((variant) => ({
      ...{ variant, programs: new Programs(variant.task.pid, cleanup), ns: [] as number[] },
    }));
    for (let i = 0; i < 2 * pairs; i++) {
      for (const { variant, programs, ns } of i % 4 < 2 ? all : all.toReversed()) {
        const before = programs.read();
        const { operations } = await variant.task.command(`${line.command(variant)} count 2000`);
        const spent = [...programs.read()].map(([hook, runs]) => runs.ns - (before.get(hook)?.ns ?? 0));
        ns.push(spent.reduce((sum, one) => sum + one, 0) / operations);
      }
    }
    return all.map(({ ns }) => spread(ns));
  });
}

/** HAProxy as a TCP proxy on the host's own address, on the CPU that all ends share. */
async function startProxy({ network: { host }, cpu, cleanup }: Setting): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), "bench-services-"));
  cleanup.add("removing the proxy's directory", () => {
    rmSync(directory, { recursive: true });
  });
  const listen = (port: number): string =>
    `listen p${port}\n  bind ${host.address}:${port}\n  server s ${host.peerAddress}:${port}\n`;
  const file = join(directory, "haproxy.cfg");
  writeFileSync(
    file,
    `global\n  nbthread 1\n  maxconn 1000\ndefaults\n  mode tcp\n  option nolinger\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n${listen(PEER_PORT)}${listen(PEER_PORT + 2)}`,
  );
  const argv = inNamespace(host.namespace, "taskset", "-c", String(cpu), "haproxy", "-db", "-f", file);
  const child = spawn(argv[0] ?? "", argv.slice(1), { stdio: "ignore" });
  const exited = once(child, "exit");
  cleanup.add("ending the proxy", async () => {
    child.kill("SIGKILL");
    await exited;
  });
  await new Promise((resolve) => setTimeout(resolve, 500));
  if (child.exitCode !== null) throw new Error("haproxy does not start: is it installed?");
}

/** The services of a running container, for this process to change. */
function tableOf(task: Variant["task"], cleanup: Cleanup): ServiceTable {
  const maps = new Map<string, BpfMap>();
  for (const name of SERVICE_MAPS) {
    const map = openPinnedMap(`bench-${process.pid}`, buildId(), name);
    if (!map) throw new Error(`there is no map ${name}`);
    maps.set(name, map);
    cleanup.add(`closing ${name}`, () => {
      map.close();
    });
  }
  const node = CgroupNode.open(nodeOf(task.pid));
  if (!node) throw new Error("the task's node is gone");
  const map = (name: string): BpfMap => {
    const found = maps.get(name);
    if (!found) throw new Error(`no map ${name}`);
    return found;
  };
  const services = new ServiceTable({ map }, node.id);
  cleanup.add("forgetting services", () => {
    services.stop();
  });
  return services;
}

function ratiosOf(samples: Samples, of: VariantName, to: VariantName, name: string): Ratio[] {
  return [...samples].flatMap(([line, byName]) => {
    const [a, b] = [byName.get(of), byName.get(to)];
    // Rates: the time of the one it is compared with, by its own.
    return a && b ? [{ name, line: line.name, spread: spread(pairsOf(a, b, (x, y) => y / x)) }] : [];
  });
}

async function measure(pairs: number, cleanup: Cleanup): Promise<Result> {
  const built = build(cleanup);
  const network = makeNetwork(cleanup);
  const setting: Setting = { network, built, root: makeRoot(cleanup), cpu: measuringCpu(), cleanup };
  const { host, mesos } = network;
  const peer = await startPeer(setting);
  await startProxy(setting);
  // A host of its own: connection tracking and its rules slow all of a namespace.
  script(mesos.namespace, [
    `ip route add ${NATTED}/32 via ${mesos.peerAddress}`,
    `iptables -t nat -A OUTPUT -d ${NATTED} -p tcp -j DNAT --to-destination ${mesos.peerAddress}`,
  ]);
  script(network.peer, [`ip route add local ${MANY}.0.0/16 dev lo`]);
  script(host.namespace, [
    `ip route add ${MANY}.0.0/16 via ${host.peerAddress}`,
    "sysctl -qw net.ipv4.tcp_tw_reuse=1",
  ]);
  const bare = await startBare(setting, "bare", 31010);
  const direct = await startOurs(setting);
  const vip = await startVip(setting);
  const proxyTask = await startBare(setting, "null", 31020);
  const proxy: Variant = { ...proxyTask, name: "proxy", host: { ...host, peerAddress: host.address } };
  const natTask = await startBare({ ...setting, network: { ...network, host: mesos } }, "null", 31030);
  const dnat: Variant = { ...natTask, name: "dnat", host: { ...mesos, peerAddress: NATTED } };
  const progress = (done: number, of: number): boolean => process.stderr.write(`\r${done} of ${of} rounds`);
  const samples = await measureLines([bare, direct, vip, proxy, dnat], peer, pairs, progress, [
    CONNECT,
    ANSWER,
  ]);
  process.stderr.write("\n");
  const services = tableOf(vip.task, cleanup);
  const steps: Result["steps"] = [];
  const step = async (name: string, line: Line): Promise<void> => {
    process.stderr.write(`${name}\n`);
    const found = await measureLines([direct, vip], peer, pairs, progress, [line]);
    const [ratio] = ratiosOf(found, "vip", "ours", name);
    const [own, other] = await timePrograms([direct, vip], line, Math.min(pairs, 10));
    if (ratio && own && other)
      steps.push({ name, spread: ratio.spread, programs: { direct: own, vip: other } });
  };
  const service = (address: string, port: number, backends: Service["backends"]): Service => ({
    ...{ address, port, protocol: "tcp", backends },
  });
  const backend = (i: number): Service["backends"][number] => ({
    address: `${MANY}.${i >> 8}.${i & 255}`,
    port: PEER_PORT + 2,
  });
  const lead = (count: number): void => {
    const backends = Array.from({ length: count }, (_, i) => backend(i));
    services.put(service(VIP, PEER_PORT + 2, backends));
  };
  lead(1);
  await step("1 service, 1 backend", toEach(1));
  for (let i = 0; i < SERVICES; i++)
    services.put(
      service(`10.79.${i >> 8}.${i & 255}`, 80, [backend((2 * i) % 60_000), backend((2 * i + 1) % 60_000)]),
    );
  await step("10,000 services, 1 backend of the one", toEach(1));
  lead(1000);
  await step("10,000 services, 1,000 backends of the one", toEach(1000));
  const absolute = [CONNECT, ANSWER].map((line) =>
    line.absolute(spread(samples.get(line)?.get("bare") ?? []).median),
  );
  const events = await measureEvents(SERVICES, EVENTS, cleanup);
  return {
    ...{ absolute, steps, events },
    ratios: [
      ...ratiosOf(samples, "vip", "ours", "**virtual address** ÷ direct, both in a container"),
      ...ratiosOf(samples, "ours", "bare", "direct, in a container ÷ bare host"),
      ...ratiosOf(samples, "vip", "bare", "virtual address, in a container ÷ bare host"),
      ...ratiosOf(samples, "dnat", "bare", "iptables DNAT ÷ bare host"),
      ...ratiosOf(samples, "proxy", "bare", "HAProxy, TCP ÷ bare host"),
    ],
  };
}

function range({ median, q1, q3 }: Spread, digits: number): string {
  return `${median.toFixed(digits)} (${q1.toFixed(digits)}–${q3.toFixed(digits)})`;
}

function cell(found: Spread): string {
  return range(found, 3);
}

function report({ ratios, steps, absolute, events }: Result, pairs: number): string {
  const lines = [CONNECT.name, ANSWER.name];
  const names = [...new Set(ratios.map(({ name }) => name))];
  const of = (name: string, line: string): string => {
    const found = ratios.find((ratio) => ratio.name === name && ratio.line === line);
    return found ? cell(found.spread) : "–";
  };
  const missed = [ratios[0], ...steps].filter((one) => one && one.spread.median < 0.98).length > 0;
  return `
${machineLine()}. ${pairs} pairs.

${table(
  ["rate", ...lines],
  [
    ["bare host, direct", ...absolute],
    ...names.map((name) => [name, ...lines.map((line) => of(name, line))]),
  ],
)}

Connecting to a virtual address at 0.98 of the direct rate or more, here and below: ${missed ? "**missed**" : "met"}.

${table(
  ["TCP connect + close to as many backends", "virtual address ÷ direct", "all programs, ns", "direct, ns"],
  steps.map(({ name, spread: found, programs: { direct, vip } }) => [
    name,
    cell(found),
    range(vip, 0),
    range(direct, 0),
  ]),
)}

${table(
  ["from the master's event to the kernel, with 10,000 services", "ms", "at most"],
  [
    ["a backend drains (TASK_KILLING)", range(events.drained, 2), events.drained.max.toFixed(1)],
    ["a backend is added", range(events.added, 2), events.added.max.toFixed(1)],
  ],
)}

Method as for the path above; the proxy and both ends share one CPU. Direct connections of the second table go to as many
addresses, each by chance, as the virtual address leads to; its programs are timed by the kernel's BPF statistics, whose own
price is in both columns. Events are those of ${EVENTS} tasks of each kind, over HTTP, in one process. Made by \`npm run bench:services\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readOptions("bench:services", 120);
  if (!options) return;
  requireMachine();
  const result = await withCleanup((cleanup) => measure(options.pairs, cleanup));
  await deliver(options, "bench:services", report(result, options.pairs), {
    machine: machineLine(),
    pairs: options.pairs,
    ...result,
  });
}

await runBench("bench:services", main);
