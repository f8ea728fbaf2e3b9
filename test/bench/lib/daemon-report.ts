/** The tables of bench:daemon, each line with its target. */
import type { Cycle } from "../daemon.js";
import type { LoopDelay } from "./loop-delay.js";
import { machineLine } from "./machine.js";
import type { Comparison } from "./scale.js";
import { quantile, type Spread } from "./stats.js";
import { figure, table } from "./table.js";

/** Not counted: the first ones meet code that is not compiled yet, or not for speed. An agent's daemon lives for months. */
export const WARM_UP = 1000;

/** ms, unless said otherwise. */
export interface Figures {
  containers: number;
  /** The only container, and one more beside all. */
  alone: Cycle[];
  beside: Cycle[];
  /** Each call while all were made. */
  prepare: number[];
  isolate: number[];
  /** For all containers. */
  usage: number[];
  /** Each call of these. */
  oneUsage: number[];
  list: number[];
  scrape: number[];
  recover: number[];
  /** Until another configuration is in force. */
  reload: number[];
  inside: { usage: number[]; list: number[] };
  starts: { none: number[]; all: number[] };
  /** Bytes, with all containers. */
  memory: { resident: number; most: number };
  /** A container of each of two instances: with one container in both, and with all in the second one. */
  same: Comparison[];
  scale: Comparison[];
  /** By what was done meanwhile. */
  delays: Record<string, LoopDelay>;
}

/** What the packet and bind cost may be with many containers, as a multiple of that with one. */
const EQUAL = 1.03;
const MIB = 2 ** 20;

type Row = [what: string, measured: string, target: string];

function row(what: string, value: number, unit: string, target?: number): Row {
  const verdict =
    target === undefined ? "" : `≤ ${target} ${unit}: ${value <= target ? "met" : "**missed**"}`;
  return [what, `${figure(value)} ${unit}`, verdict];
}

function sum(cycles: readonly Cycle[]): number[] {
  return cycles.map(({ prepare, isolate, cleanup }) => prepare + isolate + cleanup);
}

const total = (values: readonly number[]): number => values.reduce((all, value) => all + value, 0);
const median = (values: readonly number[]): number => quantile(values, 0.5);

/** The longest block while the daemon served; and while it started, when nobody can ask it anything yet. */
function longest(delays: Figures["delays"], starting: boolean, which: "max" | "busy"): number {
  const values = Object.entries(delays).filter(([what]) => what.startsWith("start") === starting);
  return Math.max(...values.map(([, delay]) => delay[which]));
}

function targets(figures: Figures): Row[] {
  const { containers, alone, beside, prepare, usage, oneUsage, list, scrape, recover, reload } = figures;
  const { inside, starts, memory, delays } = figures;
  const all = `all ${containers}`;
  return [
    row("prepare, isolate and cleanup of the only container: p50", median(sum(alone)), "ms", 2),
    row("· p99", quantile(sum(alone), 0.99), "ms", 10),
    row(`the same beside ${containers}: p50`, median(sum(beside)), "ms", 2),
    row("· p99", quantile(sum(beside), 0.99), "ms", 10),
    row(`prepare of ${all}, one after another`, total(prepare) / 1000, "s", 3),
    row(`USAGE of ${all}, one after another`, median(usage) / 1000, "s", 1),
    row("· one call: p50", median(oneUsage), "ms", 0.5),
    row("· inside the process", median(inside.usage), "ms", 20),
    row(`LIST of ${all}, one call`, median(list), "ms"),
    row("· inside the process", median(inside.list), "ms"),
    row(`GET /metrics of ${all}`, median(scrape), "ms"),
    row(`RECOVER of ${all}`, median(recover), "ms"),
    row(`another configuration, in force for ${all}`, median(reload) / 1000, "s"),
    row(`resident memory with ${containers}`, memory.resident / MIB, "MiB", 200),
    row("· the most until then", memory.most / MIB, "MiB"),
    row("start to first answer, no container", median(starts.none) / 1000, "s", 1),
    row(`· ${containers} containers to take up`, median(starts.all) / 1000, "s", 1),
    row("event loop blocked, longest", longest(delays, false, "busy"), "ms", 20),
    row("· with the time that others had the CPUs", longest(delays, false, "max"), "ms"),
    row("· before the first answer", longest(delays, true, "busy"), "ms"),
  ];
}

function calls({ alone, beside, containers }: Figures): string {
  const cells = (what: keyof Cycle): string[] =>
    [alone, beside].flatMap((cycles) => {
      const values = cycles.map((cycle) => cycle[what]);
      return [figure(median(values)), figure(quantile(values, 0.99))];
    });
  return table(
    ["ms", "the only one: p50", "p99", `beside ${containers}: p50`, "p99"],
    (["prepare", "isolate", "cleanup"] as const).map((what) => [what, ...cells(what)]),
  );
}

function scale({ same, scale: against, containers }: Figures): string {
  const ratio = ({ median: middle, q1, q3 }: Spread): string =>
    `${middle.toFixed(3)} (${q1.toFixed(3)}–${q3.toFixed(3)})`;
  return table(
    [
      "all programs of an operation",
      "one, ns",
      `one of ${containers}, ns`,
      "ratio (quartiles)",
      "one and one",
      "whole operation",
      "target",
    ],
    against.map(({ load, one, other, ratio: programs, wholeRatio }, index) => {
      const null_ = same[index]?.ratio;
      const verdict = programs.median / (null_?.median ?? 1) <= EQUAL ? "met" : "**missed**";
      return [
        load,
        figure(one.median),
        figure(other.median),
        ratio(programs),
        null_ ? ratio(null_) : "–",
        ratio(wholeRatio),
        `equal: ${verdict}`,
      ];
    }),
  );
}

export function report(figures: Figures): string {
  const { alone, starts, containers } = figures;
  return `
${machineLine()}. ${alone.length} containers from prepare to cleanup, ${starts.none.length} of anything else; medians.

${table(["", "measured", "target"], targets(figures))}

${calls(figures)}

${scale(figures)}

\`bpf-isolator serve\` as a process; calls in protobuf over its socket, the recorded ones of a command task with 6 ports,
on one connection, each after the answer to the one before; ${WARM_UP} containers before those are not counted. Each of the ${containers} containers has a process in it and
a WATCH stream; the daemon's state is on a tmpfs. As Mesos's linux launcher does, the benchmark puts a
container's process into a cgroup before its isolate, and ends it before its cleanup: the first of several moves of processes
waits for a grace period of RCU, up to some 10 ms, whoever makes it. Packets and
binds: the kernel's BPF statistics of a container that is the only one of its daemon, and of one among ${containers} of
another, ABBA pairs on one CPU; equal is a ratio of at most ${EQUAL} of what it is with one container in both. The event
loop is blocked for as long as it does not wait for something to do, less the time in which its thread could run and others
had the CPUs; waiting in the kernel is part of it. With all that, a timer of one millisecond in the daemon was late by
what the line after it says. Made by \`npm run bench:daemon\`.
`.trim();
}
