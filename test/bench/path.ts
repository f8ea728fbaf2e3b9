/**
 * bench:path: what isolation costs on the path of packets, against the bare host, empty programs, and the namespace of
 * network/port_mapping, all in one run. The method is in the text that it writes.
 */
import { makeRoot } from "./lib/cgroup.js";
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { build } from "./lib/build.js";
import { type CpuFigure, cpuTable, measureCpu } from "./lib/cputime.js";
import { type Ratio, type Samples, lineTable, measureLines, ratios, verdict } from "./lib/lines.js";
import { cpuShares, cpuTimes, machineLine, measuringCpu, requireMachine } from "./lib/machine.js";
import { type Options, deliver, readOptions } from "./lib/options.js";
import { makeNetwork } from "./lib/topology.js";
import { type Setting, startPeer, startVariants } from "./lib/variants.js";
import { runBench } from "./lib/run.js";

interface Result {
  samples: Samples;
  ratios: Ratio[];
  cpu: CpuFigure[];
  /** Percent of the measuring CPU's time. */
  shares: { idle: number; steal: number };
}

async function measure(options: Options, cleanup: Cleanup): Promise<Result> {
  const built = build(cleanup);
  const root = makeRoot(cleanup);
  const network = makeNetwork(cleanup);
  const setting: Setting = { network, built, root, cpu: measuringCpu(), cleanup };
  const peer = await startPeer(setting);
  const variants = await startVariants(setting, options.ours);
  const before = cpuTimes(setting.cpu);
  const samples = await measureLines(variants, peer, options.pairs, (done, of) => {
    process.stderr.write(`\r${done} of ${of} rounds`);
  });
  process.stderr.write("\nCPU time\n");
  const cpu = await measureCpu(setting, variants, peer, Math.max(2, options.pairs / 2));
  return { samples, ratios: ratios(samples), cpu, shares: cpuShares(setting.cpu, before) };
}

function report(result: Result, count: number): string {
  const { samples, cpu, shares } = result;
  return `
${machineLine()}. ${count} pairs.

Time for an operation, as a multiple of the bare host's: median (quartiles) of pairs; 1.010 is 1 % slower. "Bare again"
is the same as bare: how far it is from 1.000 is the noise.

${lineTable(samples, result.ratios)}

${verdict(result.ratios) ?? ""}

CPU time of a fixed amount of work, median ns (more than on the bare host). "Outside" is the rest of what the one CPU
did in that time, the other end's process included: what no container is charged for is the part above the bare host.
The way of a sent packet is charged to the sender, so it shows inside for what the task sends, outside for what it
receives. (Taking the command is charged too and not in the elapsed time: a few ns below 0 mean none.)

${cpuTable(cpu)}

Method: all ends in network namespaces of the benchmark's own, joined by veth, pinned to one CPU (idle
${shares.idle.toFixed(1)} %, stolen by the hypervisor ${shares.steal.toFixed(1)} % of the run). The task sends the datagrams and the bulk data, answers the
requests and opens the connections, which the other end closes. Variants are interleaved in shuffled ABBA order; samples
of 50 ms, each with new sockets. Empty programs: \`return 1\` on the hooks that bpf-isolator uses. Namespace: the
commands of Mesos's network/port_mapping for one container, on a host namespace of its own. Made by \`npm run bench:path\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readOptions("bench:path", 40);
  if (!options) return;
  requireMachine();
  const result = await withCleanup((cleanup) => measure(options, cleanup));
  const figures = {
    machine: machineLine(),
    pairs: options.pairs,
    ratios: result.ratios,
    samples: [...result.samples].map(([line, byName]) => ({
      line: line.name,
      ...Object.fromEntries(byName),
    })),
    cpu: result.cpu,
    shares: result.shares,
  };
  await deliver(options, "bench:path", report(result, options.pairs), figures);
}

await runBench("bench:path", main);
