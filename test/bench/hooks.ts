/**
 * bench:hooks: what each program of the isolator takes, from the kernel's BPF statistics, less an empty program on the
 * same hook under the same load. The statistics read the clock around each run, which costs more than the programs do;
 * the empty program's figure is that price, and only the difference means something.
 */
import { build } from "./lib/build.js";
import { makeRoot } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { CORE_HOOKS, type Hook } from "./lib/hooks.js";
import { LOADS, type Load, SEGMENT } from "./lib/hook-loads.js";
import { type LoadEnd, limitText } from "./lib/load.js";
import { machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { type Options, deliver, readOptions } from "./lib/options.js";
import { Programs, enableStatistics } from "./lib/programs.js";
import { type Spread, pairs, spread } from "./lib/stats.js";
import { table } from "./lib/table.js";
import { makeNetwork } from "./lib/topology.js";
import {
  type Setting,
  type Variant,
  startEmpty,
  startMapped,
  startMarked,
  startMarkedTo,
  startOurs,
  startPeer,
} from "./lib/variants.js";
import { runBench } from "./lib/run.js";

/** ns that a hook's program may take more than an empty one. */
const TARGETS: Partial<Record<Hook, number>> = {
  ingress: 25,
  egress: 25,
  bind4: 60,
  bind6: 60,
  post_bind4: 60,
  post_bind6: 60,
};

interface Subject {
  variant: Variant;
  programs: Programs;
  /** By "load hook". */
  samples: Map<string, { ns: number[]; packets: number[] }>;
}

interface Figure {
  load: string;
  hook: Hook;
  target: number | undefined;
  /** Packets that one run stands for. */
  packets: number;
  /** ns a run, the price of the statistics included. */
  base: Spread;
  ours: Spread;
  /** ours less base, round by round. */
  more: Spread;
}

async function sample(subject: Subject, load: Load, peer: LoadEnd): Promise<void> {
  const before = subject.programs.read();
  const worker = load.worker === "task" ? subject.variant.task : peer;
  await worker.command(`${load.command(subject.variant)} ${limitText({ count: load.count })}`);
  const after = subject.programs.read();
  for (const hook of load.hooks) {
    const [a, b] = [before.get(hook), after.get(hook)];
    // A hook that is not used, or that only the set-up of this load met.
    if (!a || !b || b.count - a.count < 100) continue;
    const key = `${load.name} ${hook}`;
    const known = subject.samples.get(key) ?? { ns: [], packets: [] };
    known.ns.push((b.ns - a.ns) / (b.count - a.count));
    known.packets.push(hook === load.bulk ? load.count / SEGMENT / (b.count - a.count) : 1);
    subject.samples.set(key, known);
  }
}

async function measure(options: Options, cleanup: Cleanup): Promise<Figure[]> {
  const built = build(cleanup);
  const root = makeRoot(cleanup);
  const network = makeNetwork(cleanup);
  const setting: Setting = { network, built, root, cpu: measuringCpu(), cleanup };
  const peer = await startPeer(setting);
  const ours = subject(
    // Without ours, empty programs stand in for it: the null comparison.
    await (options.ours ? startOurs(setting) : startEmpty(setting, CORE_HOOKS, "null")),
    cleanup,
  );
  const mapped = options.ours ? subject(await startMapped(setting), cleanup) : ours;
  const marked = options.ours ? subject(await startMarked(setting), cleanup) : ours;
  const markedTo = options.ours ? subject(await startMarkedTo(setting), cleanup) : ours;
  const others = { mapped, marked, "marked-to": markedTo };
  const subjectOf = ({ of }: Load): Subject => (of ? others[of] : ours);
  const empty = subject(await startEmpty(setting, ours.programs.hooks), cleanup);
  const baseOf = ({ over }: Load): Subject => (over === "counting" ? ours : empty);
  enableStatistics(cleanup);
  // A round gives two pairs: one in each order.
  for (let round = 0; round < Math.ceil(options.pairs / 2); round++) {
    for (const load of LOADS) {
      const [base, own] = [baseOf(load), subjectOf(load)];
      for (const one of [base, own, own, base]) await sample(one, load, peer);
    }
    process.stderr.write(`\r${round + 1} of ${Math.ceil(options.pairs / 2)}`);
  }
  process.stderr.write("\n");
  return LOADS.flatMap((load) =>
    load.hooks.flatMap((hook) => {
      const key = `${load.name} ${hook}`;
      const own = subjectOf(load);
      const [a, b] = [own.samples.get(key), baseOf(load).samples.get(key)];
      if (!a || !b) return [];
      return [
        {
          load: load.name,
          hook,
          target: (load.targets ?? TARGETS)[hook],
          packets: spread(a.packets).median,
          base: spread(b.ns),
          ours: spread(a.ns),
          more: spread(pairs(a.ns, b.ns, (x, y) => x - y)),
        },
      ];
    }),
  );
}

function subject(variant: Variant, cleanup: Cleanup): Subject {
  return { variant, programs: new Programs(variant.task.pid, cleanup), samples: new Map() };
}

function report(figures: readonly Figure[], rounds: number): string {
  const rows = figures.map(({ load, hook, target, packets, base, ours, more }) => {
    const verdict =
      target === undefined ? "" : `≤ ${target}${more.median / packets <= target ? "" : " **missed**"}`;
    const share =
      packets > 1 ? `; ${(more.median / packets).toFixed(1)} for each of ${packets.toFixed(0)} packets` : "";
    const difference = `${more.median.toFixed(1)} (${more.q1.toFixed(1)}–${more.q3.toFixed(1)})${share}`;
    return [`\`${hook}\``, load, base.median.toFixed(1), ours.median.toFixed(1), difference, verdict];
  });
  return `
${machineLine()}. ${rounds} pairs.

${table(["hook", "load", "without, ns", "bpf-isolator, ns", "difference (quartiles)", "target"], rows, 2)}

From the kernel's BPF statistics, whose own clock reading is in both of the first figures; the difference is the
program. Without: an empty program on the hook, or over counting the program of a container that only counts. In bulk loads
a run is for a GSO or GRO packet, and the target for each packet that this stands for. Medians of ABBA pairs, all on one CPU. Made by \`npm run bench:hooks\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readOptions("bench:hooks", 20);
  if (!options) return;
  requireMachine();
  const figures = await withCleanup((cleanup) => measure(options, cleanup));
  await deliver(options, "bench:hooks", report(figures, options.pairs), {
    machine: machineLine(),
    pairs: options.pairs,
    figures,
  });
}

await runBench("bench:hooks", main);
