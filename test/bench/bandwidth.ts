/**
 * bench:bandwidth: a container's limit beside tc's tbf and htb on a veth, in one run: how exact, how fair, how many
 * retransmissions, and how long a request takes beside bulk traffic of the same container.
 */
import { Instance } from "../../isolator/containers/instance.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { BANDWIDTH, jain, Link, THERE, traffic, type Flows } from "../support/bandwidth.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { MBIT, type Method, methods, NONE } from "./lib/bandwidth-methods.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { machineLine, requireMachine } from "./lib/machine.js";
import { deliver, readBandwidthOptions, type BandwidthOptions } from "./lib/options.js";
import { figure, table } from "./lib/table.js";
import { runBench } from "./lib/run.js";

const RATES = [10, 100, 1000, 10_000];
const FLOWS = [1, 4, 64];
const ECHO = 32102;
/** IP bytes of a full segment, of which this many are the program's. */
const PACKET = { bytes: 1500, payload: 1448 };
/** Of a run beside requests. ms */
const BESIDE = 1700;

interface Row {
  /** Mbit/s; undefined: none. */
  rate?: number;
  flows: number;
  method: string;
  /** Mbit/s in bytes of the IP layer. */
  all: number;
  /** The same of the first second. */
  first: number;
  jain: number;
  /** What the flow with least has of the mean. */
  least: number;
  /** Mbit/s of half of the flows, from 100 ms after the others have stopped. */
  rest?: number;
  retransmitted: number;
  dropped: number;
  /** us of a request beside the flows. */
  p99: number;
}

/** Segments that a host has sent again. @param read of /proc/net/snmp */
function retransmissions(snmp: string): number {
  const [names = [], values = []] = snmp
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("RetransSegs")]);
}

async function measure(link: Link, method: Method, rate: number, flows: number, ms: number): Promise<Row> {
  // Each anew: what a queue still has of the run before is none of its own.
  const run = async <T>(
    what: (node: CgroupNode | undefined) => Promise<T>,
  ): Promise<{ told: T; dropped: number }> => {
    const held = await method.hold(rate);
    try {
      const told = await what(held.node);
      return { told, dropped: held.dropped() };
    } finally {
      await held.end();
    }
  };
  const words = `${method.words} flows=${flows}`;
  const stop = method.ingress ? 0 : Math.floor(flows / 2);
  const snmp = (): number => retransmissions(link.far.run("cat", "/proc/net/snmp"));
  const before = snmp();
  const { told, dropped } = await run((node) => traffic<Flows>(node, `${words} ms=${ms} stop=${stop}`));
  const theirs = snmp() - before;
  const { told: asked } = await run(async (node) => {
    const [, asked] = await Promise.all([
      traffic<Flows>(node, `${words} ms=${BESIDE}`),
      traffic<{ p99: number }>(node, `ask to=${THERE} port=${ECHO} ms=${BESIDE - 200}`),
    ]);
    return asked;
  });
  const mbit = (bytes: number): number => ((bytes / PACKET.payload) * PACKET.bytes) / MBIT;
  const bytes = told.bytes.reduce((sum, each) => sum + each, 0);
  return {
    ...(method === NONE ? {} : { rate }),
    ...{ flows, method: method.name, dropped },
    all: mbit(bytes / (told.ms / 1000)),
    first: mbit(told.first),
    jain: jain(told.bytes),
    least: (Math.min(...told.bytes) * flows) / bytes,
    ...(stop === 0 ? {} : { rest: mbit(told.rest) }),
    retransmitted: method.ingress ? theirs : told.retransmitted,
    p99: asked.p99,
  };
}

async function measureAll({ seconds, least, most }: BandwidthOptions, cleanup: Cleanup): Promise<Row[]> {
  enterOwnNetwork();
  const link = await Link.create("cc=cubic");
  cleanup.add("the hosts", () => {
    link.close();
  });
  await link.serve(link.far.command(BANDWIDTH, "echo", `port=${ECHO}`));
  const instance = Instance.open(`bench-bandwidth-${process.pid}`);
  const bbr = sh("sysctl", "-n", "net.ipv4.tcp_available_congestion_control").includes("bbr");
  const rows: Row[] = [];
  const row = async (method: Method, rate: number, flows: number): Promise<void> => {
    rows.push(await measure(link, method, rate, flows, seconds * 1000));
    process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
  };
  for (const flows of FLOWS) await row(NONE, Math.max(...RATES), flows);
  for (const rate of RATES.filter((rate) => rate >= least && rate <= most))
    for (const flows of FLOWS)
      for (const method of methods(instance, link, bbr))
        if (flows === (method.flows ?? flows)) await row(method, rate, flows);
  return rows;
}

function report(rows: readonly Row[], seconds: number): string {
  const text = table(
    [
      ...["limit, Mbit/s", "flows", "by", "of the limit", "first second", "Jain's index", "least flow"],
      ...["left by half", "retransmitted", "dropped", "request p99, ms"],
    ],
    rows.map(({ rate, flows, method, all, first, rest, ...row }) => {
      const share = (value: number, digits: number): string =>
        rate === undefined ? `${value.toFixed(0)} Mbit/s` : (value / rate).toFixed(digits);
      return [
        ...[rate === undefined ? "none" : `${rate}`, `${flows}`, method, share(all, 3), share(first, 2)],
        ...[row.jain.toFixed(3), row.least.toFixed(2), rest === undefined ? "" : share(rest, 2)],
        ...[`${row.retransmitted}`, `${row.dropped}`, figure(row.p99 / 1000)],
      ];
    }),
    3,
  );
  return `
${machineLine()}. ${seconds} s each, over a veth; Cubic, but where it says BBR.

${text}

"of the limit": bytes of the IP layer that were acknowledged, or received; what is queued at the end is not. "limit none":
what these CPUs carry over the veth. "least flow": what the flow that got least has of the mean. "left by half": half of
the flows stop; what the others have of the limit from 100 ms after that on. "dropped": packets, by the limit or by the qdisc; what is
retransmitted beyond that is the machine's. tc counts 14 bytes of Ethernet for each packet too. Bursts of tc: what 4 ms take, and
64 KiB at least; tbf queues 50 ms, htb 1,000 packets. A request is 100 bytes there and back, one after another, from the same container
beside such flows, in a run of its own. Made by \`npm run bench:bandwidth\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readBandwidthOptions("bench:bandwidth");
  if (!options) return;
  requireMachine();
  const rows = await withCleanup((cleanup) => measureAll(options, cleanup));
  await deliver(options, "bench:bandwidth", report(rows, options.seconds), { machine: machineLine(), rows });
}

await runBench("bench:bandwidth", main);
