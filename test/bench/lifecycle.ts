/**
 * bench:lifecycle: what the start and the removal of a container take, by the library and as a whole command, for the
 * only container of an instance, beside one other and beside many.
 */
import { type Cleanup, withCleanup } from "./lib/cleanup.js";
import { type Command, behindNamespace, emptyNode, plain, underRun } from "./lib/commands.js";
import { Fleet, MOST, PHASES, PORTS_EACH } from "./lib/fleet.js";
import { machineLine, requireMachine } from "./lib/machine.js";
import { deliver, readCount } from "./lib/options.js";
import type { Timing } from "./lib/phases.js";
import { prepareHost } from "./lib/portmapping.js";
import { abbaRounds, quantile } from "./lib/stats.js";
import { figure, table } from "./lib/table.js";
import { makeNetwork } from "./lib/topology.js";
import { runBench } from "./lib/run.js";

/** Containers started and removed beside each number of others, and runs of each command. */
const SAMPLES = 100;
const RUNS = 30;
/** Not counted: the first ones meet cold caches and code that is not compiled yet. */
const WARM_UP = 5;

/** One container after the other, each removed before the next, beside `others` that live. */
interface Beside {
  others: number;
  start: Timing[];
  removal: Timing[];
}

interface Wall {
  command: string;
  /** ms of each run. */
  ms: number[];
}

interface Result {
  beside: Beside[];
  /** Of the containers that were only started, to live: in the order of their start. */
  filling: Timing[];
  walls: Wall[];
}

async function measureBeside(fleet: Fleet): Promise<Beside> {
  const result: Beside = { others: fleet.size, start: [], removal: [] };
  for (let sample = -WARM_UP; sample < SAMPLES; sample++) {
    const [start, removal] = [await fleet.start(), await fleet.remove()];
    if (sample < 0) continue;
    result.start.push(start);
    result.removal.push(removal);
  }
  return result;
}

/** Runs each command RUNS times, in turns. */
async function measureWalls(commands: ReadonlyMap<string, Command>, cleanup: Cleanup): Promise<Wall[]> {
  const walls = new Map([...commands.keys()].map((command) => [command, [] as number[]]));
  for (const round of abbaRounds([...commands], RUNS)) {
    for (const [name, command] of round) {
      const from = performance.now();
      await cleanup.guard(command);
      walls.get(name)?.push(performance.now() - from);
    }
  }
  return [...walls].map(([command, ms]) => ({ command, ms }));
}

async function measure(containers: number, cleanup: Cleanup): Promise<Result> {
  const network = makeNetwork(cleanup);
  prepareHost(network.mesos);
  const fleet = await Fleet.open(cleanup);
  const run = underRun(fleet.name);
  const say = (what: string) => process.stderr.write(`${what}\n`);
  say("the only container");
  const beside = [await measureBeside(fleet)];
  const walls = await measureWalls(
    new Map([
      ["`/bin/true`", plain],
      ["`node -e 0`", emptyNode],
      ["`bpf-isolator run -- /bin/true`, the only container", run],
      ["`/bin/true` in a namespace with veth and tc, made and removed by scripts", behindNamespace(network)],
    ]),
    cleanup,
  );
  const filling: Timing[] = [];
  for (const others of [1, containers]) {
    say(`beside ${others}`);
    while (fleet.size < others) {
      filling.push(await fleet.start());
      if (fleet.size % 100 === 0) process.stderr.write(`\r${fleet.size} of ${others}\n`);
    }
    beside.push(await measureBeside(fleet));
    walls.push(
      ...(await measureWalls(
        new Map([[`\`bpf-isolator run -- /bin/true\`, beside ${others}`, run]]),
        cleanup,
      )),
    );
  }
  say("removing all");
  return { beside, filling, walls };
}

/** Rows for the total and the phases of start or removal. */
function rows(beside: readonly Beside[], what: "start" | "removal"): string[][] {
  const row = (name: string, pick: (timing: Timing) => number): string[] => [
    name,
    ...beside.flatMap(({ [what]: timings }) => {
      const values = timings.map(pick);
      return [figure(quantile(values, 0.5)), figure(quantile(values, 0.99))];
    }),
  ];
  return [
    row(`**${what}**`, ({ total }) => total),
    ...PHASES[what].map((phase) => row(`· ${phase}`, ({ phases }) => phases.get(phase) ?? 0)),
  ];
}

function report({ beside, walls }: Result): string {
  const heads = beside.flatMap(({ others }) => {
    const where = others === 0 ? "the only one" : `beside ${others}`;
    return [`${where}: p50`, "p99"];
  });
  return `
${machineLine()}. ms; ${SAMPLES} containers in each column, ${RUNS} runs of each command.

${table(["by the library", ...heads], [...rows(beside, "start"), ...rows(beside, "removal")])}

${table(
  ["whole command", "p50", "p99"],
  walls.map(({ command, ms }) => [command, figure(quantile(ms, 0.5)), figure(quantile(ms, 0.99))]),
)}

One container after the other, each with ${PORTS_EACH} ports and no process in it, beside others that live. The only one of
an instance also loads the programs ("programs") and takes them away again ("last one out"). What is in no phase is the
instance's lock and small things. The namespace: \`ip\`, one \`tc\` for the host's filters as Mesos uses netlink there, and
Mesos's own shell script inside; the kernel takes a namespace down later, which is not counted. Made by
\`npm run bench:lifecycle\`.
`.trim();
}

async function main(): Promise<void> {
  const options = readCount("bench:lifecycle", 1000);
  if (!options) return;
  if (options.containers > MOST) throw new Error(`--containers: there are ports for ${MOST} at the most`);
  requireMachine();
  const result = await withCleanup((cleanup) => measure(options.containers, cleanup));
  const plainTiming = ({ total, phases }: Timing) => ({ total, ...Object.fromEntries(phases) });
  await deliver(options, "bench:lifecycle", report(result), {
    machine: machineLine(),
    beside: result.beside.map(({ others, start, removal }) => ({
      others,
      start: start.map(plainTiming),
      removal: removal.map(plainTiming),
    })),
    filling: result.filling.map(plainTiming),
    commands: result.walls,
  });
}

await runBench("bench:lifecycle", main);
