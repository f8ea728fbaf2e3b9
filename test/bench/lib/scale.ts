/** Whether the programs of a container take longer where their instance has many: two load processes, one in each. */
import { Cleanup } from "./cleanup.js";
import { LOADS, type Load } from "./hook-loads.js";
import { type LoadEnd, limitText } from "./load.js";
import { Programs, enableStatistics } from "./programs.js";
import { type Spread, pairs as combine, spread } from "./stats.js";
import type { Host } from "./topology.js";

/** What is said of packets and of bind(). */
const NAMES: readonly string[] = ["bind(), TCP, IPv4", "64-byte UDP sent", "64-byte UDP received"];

/** A container with a load process in it. */
export interface Side {
  task: LoadEnd;
  host: Host;
  /** First port of the container. */
  port: number;
  programs: Programs;
}

/** ns an operation. */
interface Sample {
  /** Of all programs together, from the kernel's BPF statistics. */
  programs: number;
  /** Of the operation as a whole. */
  whole: number;
}

export interface Comparison {
  load: string;
  one: Spread;
  other: Spread;
  /** other ÷ one of each pair. */
  ratio: Spread;
  wholeRatio: Spread;
}

async function take(side: Side, load: Load, peer: LoadEnd): Promise<Sample> {
  const before = side.programs.read();
  const worker = load.worker === "task" ? side.task : peer;
  const { operations, ns } = await worker.command(
    `${load.command(side)} ${limitText({ count: load.count })}`,
  );
  const spent = [...side.programs.read()].map(([hook, runs]) => runs.ns - (before.get(hook)?.ns ?? 0));
  return { programs: spent.reduce((sum, value) => sum + value, 0) / operations, whole: ns / operations };
}

/** @param pairs for each load */
export async function compare(one: Side, other: Side, peer: LoadEnd, pairs: number): Promise<Comparison[]> {
  const loads = LOADS.filter(({ name }) => NAMES.includes(name));
  const samples = new Map(loads.map((load) => [load, { one: [] as Sample[], other: [] as Sample[] }]));
  const scope = new Cleanup();
  try {
    enableStatistics(scope);
    for (let round = 0; round < Math.ceil(pairs / 2); round++) {
      for (const [load, taken] of samples) {
        for (const name of ["one", "other", "other", "one"] as const)
          taken[name].push(await take(name === "one" ? one : other, load, peer));
      }
    }
  } finally {
    await scope.run();
  }
  return [...samples].map(([load, taken]) => {
    const values = (name: "one" | "other", field: keyof Sample) => taken[name].map((each) => each[field]);
    const ratio = (field: keyof Sample) =>
      spread(combine(values("other", field), values("one", field), (x, y) => x / y));
    return {
      load: load.name,
      one: spread(values("one", "programs")),
      other: spread(values("other", "programs")),
      ratio: ratio("programs"),
      wholeRatio: ratio("whole"),
    };
  });
}
