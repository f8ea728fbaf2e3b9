/**
 * bench:bandwidth: a container's limit beside tc's tbf and htb on a veth, in one run: how exact, how fair, how many
 * retransmissions, and how long a request takes beside bulk traffic of the same container.
 */
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import type { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { BANDWIDTH, jain, Link, SINK, SOURCE, THERE, traffic, type Flows } from "../support/bandwidth.js";
import { enterOwnNetwork, sh } from "../support/network.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { machineLine, requireMachine } from "./lib/machine.js";
import { deliver, readBandwidthOptions, type BandwidthOptions } from "./lib/options.js";
import { figure, table } from "./lib/table.js";
import { runBench } from "./lib/run.js";

const RATES = [10, 100, 1000, 10_000];
const FLOWS = [1, 4, 64];
const ECHO = 32102;
const MBIT = 125_000;
/** IP bytes of a full segment, of which this many are the program's. */
const PACKET = { bytes: 1500, payload: 1448 };

interface Row {
  rate: number;
  flows: number;
  method: string;
  /** Of the limit, in bytes of the IP layer. */
  share: number;
  /** The same of the first second. */
  first: number;
  jain: number;
  /** What the flow with least has of the mean. */
  least: number;
  retransmitted: number;
  /** us of a request beside the flows. */
  p99: number;
}

/** What holds traffic back, until it is taken away. @returns where senders run */
type Method = (rate: number) => Promise<{ node?: CgroupNode; end: () => Promise<void> }>;

function withTc(...words: string[][]): Method {
  return (rate) => {
    for (const args of words)
      sh(
        "tc",
        ...args.map((word) =>
          word
            .replace("RATE", `${rate}mbit`)
            .replace("BURST", `${Math.max(Math.round((rate * MBIT) / 250), 65_536)}`),
        ),
      );
    return Promise.resolve({
      end: () => {
        sh("tc", "qdisc", "del", "dev", "near", "root");
        return Promise.resolve();
      },
    });
  };
}

function withLimit(instance: Instance, side: "egress" | "ingress"): Method {
  return async (rate) => {
    const container = await prepareContainer(instance, {
      id: ["limited"],
      policy: {
        ...{ ports: [], ephemeral: "allow", enforce: "on", allowProtocols: [] },
        bandwidth: { [side]: { rate: rate * MBIT } },
      },
    });
    return { node: container.node, end: () => container.cleanup() };
  };
}

async function measure(
  method: string,
  start: Method,
  words: string,
  rate: number,
  flows: number,
  ms: number,
): Promise<Row> {
  // Each anew: what a queue still has of the run before is none of its own.
  const run = async <T>(what: (node: CgroupNode | undefined) => Promise<T>): Promise<T> => {
    const { node, end } = await start(rate);
    try {
      return await what(node);
    } finally {
      await end();
    }
  };
  const bulk = (node: CgroupNode | undefined, length: number): Promise<Flows> =>
    traffic(node, `${words} flows=${flows} ms=${length}`);
  const told = await run((node) => bulk(node, ms));
  const beside = Math.max(ms / 2, 1000);
  const [, asked] = await run((node) =>
    Promise.all([
      bulk(node, beside),
      traffic<{ p99: number }>(node, `ask to=${THERE} port=${ECHO} ms=${beside - 200}`),
    ]),
  );
  const share = (bytes: number, length: number): number =>
    ((bytes / PACKET.payload) * PACKET.bytes) / (length / 1000) / (rate * MBIT);
  const bytes = told.bytes.reduce((sum, each) => sum + each, 0);
  return {
    ...{ rate, flows, method },
    share: share(bytes, told.ms),
    first: share(told.first, 1000),
    jain: jain(told.bytes),
    least: (Math.min(...told.bytes) * flows) / bytes,
    retransmitted: told.retransmitted,
    p99: asked.p99,
  };
}

async function measureAll({ seconds, least, most }: BandwidthOptions, cleanup: Cleanup): Promise<Row[]> {
  enterOwnNetwork();
  const link = await Link.create();
  cleanup.add("the hosts", () => {
    link.close();
  });
  await link.serve(link.far.command(BANDWIDTH, "echo", `port=${ECHO}`));
  const instance = Instance.open(`bench-bandwidth-${process.pid}`);
  const send = `send to=${THERE} port=${SINK}`;
  const methods: [string, Method, string][] = [
    ["this", withLimit(instance, "egress"), send],
    [
      "tbf",
      withTc([
        "qdisc",
        "add",
        "dev",
        "near",
        "root",
        "tbf",
        "rate",
        "RATE",
        "burst",
        "BURST",
        "latency",
        "50ms",
      ]),
      send,
    ],
    [
      "htb",
      withTc(
        ["qdisc", "add", "dev", "near", "root", "handle", "1:", "htb", "default", "1"],
        [
          "class",
          "add",
          "dev",
          "near",
          "parent",
          "1:",
          "classid",
          "1:1",
          "htb",
          "rate",
          "RATE",
          "burst",
          "BURST",
        ],
      ),
      send,
    ],
    ["this, ingress", withLimit(instance, "ingress"), `receive to=${THERE} port=${SOURCE}`],
  ];
  const rows: Row[] = [];
  for (const rate of RATES.filter((rate) => rate >= least && rate <= most)) {
    for (const flows of FLOWS) {
      for (const [name, start, words] of methods) {
        rows.push(await measure(name, start, words, rate, flows, seconds * 1000));
        process.stderr.write(`${JSON.stringify(rows.at(-1))}\n`);
      }
    }
  }
  return rows;
}

function report(rows: readonly Row[], seconds: number): string {
  const text = table(
    [
      ...["limit, Mbit/s", "flows", "by", "of the limit", "first second", "Jain's index"],
      ...["least flow", "retransmitted", "request p99, ms"],
    ],
    rows.map(({ rate, flows, method, share, first, jain: fairness, least, retransmitted, p99 }) => [
      ...[
        `${rate}`,
        `${flows}`,
        method,
        share.toFixed(3),
        first < 0 ? "" : first.toFixed(2),
        fairness.toFixed(3),
      ],
      ...[least.toFixed(2), method === "this, ingress" ? "" : `${retransmitted}`, figure(p99 / 1000)],
    ]),
    3,
  );
  return `
${machineLine()}. ${seconds} s each, over a veth.

${text}

"of the limit": bytes of the IP layer that were acknowledged; what is queued at the end is not. "least flow": what the flow
that got least has of the mean. tc counts 14 bytes of
Ethernet for each packet too. Bursts of tc: what 4 ms take, and 64 KiB at least; tbf queues 50 ms, htb 1,000 packets. A
request is 100 bytes there and back, one after another, from the same container beside such flows, in a run of its own. Where all are below the limit, the CPUs are the bound.
Made by \`npm run bench:bandwidth\`.
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
