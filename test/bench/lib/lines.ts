/** What is measured on the path, and how each variant's samples become a table. */
import { type LoadEnd, limitText, type Limit } from "./load.js";
import { type Spread, abbaRounds, pairs, spread } from "./stats.js";
import { figure, table } from "./table.js";
import { PEER_PORT, type Variant, type VariantName } from "./variants.js";

/** Short, and many of them: other users of the machine change its speed for seconds at a time, so what is compared must
 * be measured within a second. */
const SAMPLE: Limit = { warmMs: 10, runMs: 50 };

export interface Line {
  name: string;
  /** Which end works: the task sends or connects, or the peer does and the task serves. */
  worker: "task" | "peer";
  /** Command of load.c without its limit. */
  command: (variant: Variant) => string;
  /** The bare host's figure in its usual unit, from ns an operation. */
  absolute: (ns: number) => string;
}

export const LINES: readonly Line[] = [
  {
    name: "64-byte UDP, `sendto()`",
    worker: "task",
    command: ({ host }) => `udp ${host.peerAddress} ${PEER_PORT}`,
    absolute: (ns) => `${figure(ns)} ns`,
  },
  {
    name: "64-byte UDP, connected `send()`",
    worker: "task",
    command: ({ host }) => `send ${host.peerAddress} ${PEER_PORT}`,
    absolute: (ns) => `${figure(ns)} ns`,
  },
  {
    name: "TCP request/response, 1 byte",
    worker: "peer",
    command: ({ host, port }) => `rr ${host.address} ${port}`,
    absolute: (ns) => `${figure(1e6 / ns)} k/s`,
  },
  {
    name: "TCP connect + close",
    worker: "task",
    command: ({ host }) => `connect ${host.peerAddress} ${PEER_PORT + 2}`,
    absolute: (ns) => `${figure(1e6 / ns)} k/s`,
  },
  {
    name: "TCP bulk, 1 stream",
    worker: "task",
    command: ({ host }) => `bulk 1 ${host.peerAddress} ${PEER_PORT + 1}`,
    absolute: (ns) => `${figure(8 / ns)} Gbit/s`,
  },
  {
    name: "TCP bulk, 4 streams",
    worker: "task",
    command: ({ host }) => `bulk 4 ${host.peerAddress} ${PEER_PORT + 1}`,
    absolute: (ns) => `${figure(8 / ns)} Gbit/s`,
  },
];

/** ns an operation of each sample, by line and variant, in the order in which they were taken. */
export type Samples = Map<Line, Map<VariantName, number[]>>;

/**
 * Measures every line with every variant, `count` times. Lines are the inner loop: what disturbs the machine for some
 * seconds then spoils a few pairs of each line, which medians bear, and not half of one line.
 */
export async function measureLines(
  variants: readonly Variant[],
  peer: LoadEnd,
  count: number,
  progress: (done: number, of: number) => void,
  lines = LINES,
): Promise<Samples> {
  const samples: Samples = new Map(
    lines.map((line) => [line, new Map<VariantName, number[]>(variants.map(({ name }) => [name, []]))]),
  );
  const rounds = abbaRounds(variants, count);
  for (const [index, order] of rounds.entries()) {
    for (const line of lines) {
      for (const variant of order) {
        const worker = line.worker === "task" ? variant.task : peer;
        const { operations, ns } = await worker.command(`${line.command(variant)} ${limitText(SAMPLE)}`);
        samples
          .get(line)
          ?.get(variant.name)
          ?.push(ns / operations);
      }
    }
    progress(index + 1, rounds.length);
  }
  return samples;
}

/** One variant's time an operation divided by another's, in each pair. */
export interface Ratio {
  line: string;
  of: VariantName;
  to: VariantName;
  spread: Spread;
}

export function ratios(samples: Samples): Ratio[] {
  const all: Ratio[] = [];
  for (const [line, byName] of samples) {
    const compare = (of: VariantName, to: VariantName) => {
      const [a, b] = [byName.get(of), byName.get(to)];
      if (a && b) all.push({ line: line.name, of, to, spread: spread(pairs(a, b, (x, y) => x / y)) });
    };
    for (const name of ["null", "empty", "ours", "counted", "netns"] as const) compare(name, "bare");
    compare("ours", "empty");
    compare("ours", "netns");
    compare("counted", "ours");
    compare("counted", "netns");
  }
  return all;
}

const COLUMNS: readonly { head: string; of: VariantName; to: VariantName }[] = [
  { head: "bare again", of: "null", to: "bare" },
  { head: "empty programs", of: "empty", to: "bare" },
  { head: "**bpf-isolator**", of: "ours", to: "bare" },
  { head: "namespace, veth, tc", of: "netns", to: "bare" },
  { head: "bpf-isolator ÷ empty", of: "ours", to: "empty" },
  { head: "bpf-isolator ÷ namespace", of: "ours", to: "netns" },
];

/** Rows are lines; a cell is the median of the pair ratios, and their quartiles. */
export function lineTable(samples: Samples, all: readonly Ratio[]): string {
  const cell = (line: Line, of: VariantName, to: VariantName): string => {
    const found = all.find((ratio) => ratio.line === line.name && ratio.of === of && ratio.to === to)?.spread;
    if (!found) return "–";
    return `${found.median.toFixed(3)} (${found.q1.toFixed(3)}–${found.q3.toFixed(3)})`;
  };
  return table(
    ["", "bare host", ...COLUMNS.map(({ head }) => head)],
    [...samples].map(([line, byName]) => [
      line.name,
      line.absolute(spread(byName.get("bare") ?? []).median),
      ...COLUMNS.map(({ of, to }) => cell(line, of, to)),
    ]),
  );
}

/** Whether each line is within 1 % of the empty programs and ahead of the namespace; undefined without `ours`. */
export function verdict(all: readonly Ratio[]): string | undefined {
  const ours = all.filter(({ of }) => of === "ours");
  const empty = ours.filter(({ to }) => to === "empty");
  const netns = ours.filter(({ to }) => to === "netns");
  if (empty.length === 0) return undefined;
  const say = (missed: Ratio[], goal: string): string =>
    missed.length === 0
      ? `${goal}: met in each line.`
      : `${goal}: **missed** in ${missed.map(({ line, spread: { median } }) => `${line} (${median.toFixed(3)})`).join(", ")}.`;
  return [
    say(
      empty.filter(({ spread: { median } }) => median > 1.01),
      "Within 1 % of the empty programs",
    ),
    say(
      netns.filter(({ spread: { median } }) => median >= 1),
      "Ahead of the namespace",
    ),
  ].join(" ");
}
