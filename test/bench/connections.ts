/**
 * bench:connections: what counting connections costs a TCP or UDP connect and close, and whether that grows with what is held
 * and with the containers that there are. The path and its method are those of bench:path.
 */
import { build } from "./lib/build.js";
import { makeRoot } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { crowd, Holding } from "./lib/holding.js";
import { LINES, type Line, type Ratio, measureLines, ratios } from "./lib/lines.js";
import { limitText } from "./lib/load.js";
import { machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { deliver, readOptions } from "./lib/options.js";
import { Programs, enableStatistics } from "./lib/programs.js";
import { type Spread, spread } from "./lib/stats.js";
import { figure, table } from "./lib/table.js";
import { makeNetwork } from "./lib/topology.js";
import {
  PEER_PORT,
  type Setting,
  type Variant,
  startBare,
  startCounted,
  startNetns,
  startOurs,
  startPeer,
} from "./lib/variants.js";
import { runBench } from "./lib/run.js";

const CONNECT = "TCP connect + close";
const DIAL = "connected UDP, connect + close";
const MEASURED: readonly Line[] = [
  ...LINES.filter(({ name }) => name === CONNECT),
  {
    name: DIAL,
    worker: "task",
    command: ({ host }) => `dial ${host.peerAddress} ${PEER_PORT}`,
    absolute: (ns) => `${figure(ns)} ns`,
  },
];
/** Held at one time, and containers that there are. */
const HELD = [1, 1_000, 10_000, 100_000];
const CONTAINERS = 1_000;
/** Connections of a sample. */
const SAMPLE = 5_000;

/** ns of all programs together for one connection, with so much beside it. */
interface Step {
  name: string;
  programs: Spread;
  whole: Spread;
}

interface Result {
  ratios: Ratio[];
  steps: Step[];
}

async function measureStep(
  name: string,
  { task, host }: Variant,
  setting: Setting,
  pairs: number,
): Promise<Step> {
  const programTimes: number[] = [];
  const wholeTimes: number[] = [];
  const programs = new Programs(task.pid, setting.cleanup);
  for (let i = 0; i < Math.max(10, pairs / 4); i++) {
    const before = programs.read();
    const { operations, ns } = await task.command(
      `connect ${host.peerAddress} ${PEER_PORT + 2} ${limitText({ count: SAMPLE })}`,
    );
    const spent = [...programs.read()].map(([hook, runs]) => runs.ns - (before.get(hook)?.ns ?? 0));
    programTimes.push(spent.reduce((sum, value) => sum + value, 0) / operations);
    wholeTimes.push(ns / operations);
  }
  return { name, programs: spread(programTimes), whole: spread(wholeTimes) };
}

async function measure(pairs: number, cleanup: Cleanup): Promise<Result> {
  const built = build(cleanup);
  const network = makeNetwork(cleanup);
  const setting: Setting = { network, built, root: makeRoot(cleanup), cpu: measuringCpu(), cleanup };
  const peer = await startPeer(setting);
  const counted = await startCounted(setting);
  const variants = [
    await startBare(setting, "bare", 31010),
    await startOurs(setting),
    counted,
    await startNetns(setting),
  ];
  const progress = (done: number, of: number): boolean => process.stderr.write(`\r${done} of ${of} rounds`);
  const samples = await measureLines(variants, peer, pairs, progress, MEASURED);
  process.stderr.write("\n");
  enableStatistics(cleanup);
  const steps: Step[] = [];
  const holding = new Holding(counted, setting);
  for (const count of HELD) {
    await holding.reach(count);
    process.stderr.write(`${count} held\n`);
    steps.push(await measureStep(`${count.toLocaleString("en")} held`, counted, setting, pairs));
  }
  await crowd(CONTAINERS, cleanup);
  const name = `the same, and ${CONTAINERS.toLocaleString("en")} other containers`;
  steps.push(await measureStep(name, counted, setting, pairs));
  return { ratios: ratios(samples), steps };
}

function report({ ratios: all, steps }: Result, pairs: number): string {
  const row = (text: string, of: Ratio["of"], to: Ratio["to"], most?: number, line = CONNECT): string[] => {
    const found = all.find((ratio) => ratio.line === line && ratio.of === of && ratio.to === to)?.spread;
    if (!found) throw new Error(`no ratio of ${of} to ${to}`);
    const goal = most === undefined ? "" : `≤ ${most}${found.median <= most ? "" : " **missed**"}`;
    return [text, `${found.median.toFixed(3)} (${found.q1.toFixed(3)}–${found.q3.toFixed(3)})`, goal];
  };
  const quartiles = ({ median, q1, q3 }: Spread): string => `${figure(median)} (${figure(q1)}–${figure(q3)})`;
  return `
${machineLine()}. ${pairs} pairs.

${table(
  ["TCP connect + close, time", "median (quartiles)", "target"],
  [
    row("not counted ÷ bare host", "ours", "bare"),
    row("counted ÷ bare host", "counted", "bare"),
    row("namespace, veth, tc ÷ bare host", "netns", "bare"),
    row("counted ÷ not counted", "counted", "ours", 1.01),
    row("counted ÷ namespace, veth, tc", "counted", "netns", 1),
    row("connected UDP: not counted ÷ bare host", "ours", "bare", undefined, DIAL),
    row("connected UDP: counted ÷ bare host", "counted", "bare", undefined, DIAL),
    row("connected UDP: counted ÷ not counted", "counted", "ours", undefined, DIAL),
  ],
)}

${table(
  ["what the container holds meanwhile", "all programs, ns", "connect + close, ns"],
  steps.map(({ name, programs, whole }) => [name, quartiles(programs), quartiles(whole)]),
)}

Method as for the path above; what is held is TCP on the loopback device, 500 to each of its destinations. The second
table has the kernel's BPF statistics on, whose own price is in both of its columns. Made by \`npm run bench:connections\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readOptions("bench:connections", 120);
  if (!options) return;
  requireMachine();
  const result = await withCleanup((cleanup) => measure(options.pairs, cleanup));
  await deliver(options, "bench:connections", report(result, options.pairs), {
    machine: machineLine(),
    pairs: options.pairs,
    ...result,
  });
}

await runBench("bench:connections", main);
