/**
 * `npm run bench:files`: what rules for files cost, in the kernel lab's VM, since build machines take no BPF LSM program. There
 * the processor is emulated and nanoseconds mean nothing, so instructions are counted: the guest's clock is their number
 * (VmOptions.counted). They do not depend on what the machine does meanwhile.
 *
 * Each figure is the median of the ratios of pairs of runs, in ABBA order; "the same twice" is what the measurement makes of
 * nothing. Options: --kernel NAME, --pairs N, --write (README.md).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, watch, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Container } from "../../isolator/containers/container.js";
import { Instance } from "../../isolator/containers/instance.js";
import { prepareContainer } from "../../isolator/containers/preparation.js";
import type { FilesPolicy } from "../../isolator/features/files.js";
import { CgroupNode } from "../../isolator/kernel/cgroup.js";
import { requireCgroup2 } from "../../isolator/kernel/mounts.js";
import { files } from "../support/files.js";
import { policy } from "../support/instance.js";
import { attachLsm, hookNamed } from "../support/lsm.js";
import { DIST, inNode } from "../support/process.js";
import { bootVm, COUNTED_NS } from "../vm/boot.js";
import { pairs, spread } from "./lib/stats.js";
import { table, writeReadme } from "./lib/table.js";

const OPENS = join(DIST, "test/helpers/opens");
const N = { open: 4_000, change: 2_400, ioctl: 24_000 } as const;
const WHAT = {
  open: "open() and close()",
  change: "creating and removing a file",
  ioctl: "ioctl()",
} as const;
type Operation = keyof typeof N;
/** Of a clock that jumps where nobody has anything to do. */
const SETTLE_MS = 60_000;

/** Where it is measured: undefined is outside of every container. */
type Side = string | undefined;

/**
 * What there is meanwhile. `hook`: a program that does nothing on file_open of another cgroup, which is the kernel's own
 * price. `watch`: somebody who watches any directory of the file system by inotify, as on most machines; the daemon
 * does so for rules, and the kernel then looks at each open() and close() there. `escape`: containers without rules under
 * `escape: deny`, the default, on such a machine. `rules`: these, and some with rules.
 */
type There = "nothing" | "hook" | "watch" | "escape" | "rules";

interface Comparison {
  what: string;
  operation: Operation;
  where: [a: Side, b: Side];
  there: [a: There, b: There];
  /** The file is on btrfs: ext4 without. */
  btrfs?: true;
}

const OUTSIDE: Comparison["where"] = [undefined, undefined];
const COMPARISONS: readonly Comparison[] = [
  ...(
    [
      ["outside: the same twice", "nothing", "nothing"],
      ["outside: an empty program on the hook for another cgroup, to none", "nothing", "hook"],
      ["outside: an inotify watch of another directory, to none", "nothing", "watch"],
      ["outside: containers without rules, to none", "watch", "escape"],
      ["outside: containers with rules, to those without", "escape", "rules"],
    ] as const
  ).map(([what, ...there]): Comparison => ({ what, operation: "open", where: OUTSIDE, there })),
  {
    what: "container without rules: the same twice",
    operation: "open",
    where: ["escape", "escape"],
    there: ["rules", "rules"],
  },
  {
    what: "container without rules: others have some, to none",
    operation: "open",
    where: ["escape", "escape"],
    there: ["escape", "rules"],
  },
  ...[
    ["rules", "container with 14 rules, to one without"] as const,
    ["many", "container with 2,000 rules, to one without"] as const,
  ].map(([name, what]): Comparison => ({
    what,
    operation: "open",
    where: ["escape", name],
    there: ["rules", "rules"],
  })),
  ...(
    [
      ["escape", "the same twice"],
      ["rules", "container with 14 rules, to one without"],
    ] as const
  ).map(([name, what]): Comparison => ({
    what: `btrfs: ${what}`,
    operation: "open",
    where: ["escape", name],
    there: ["rules", "rules"],
    btrfs: true,
  })),
  ...(["change", "ioctl"] as const).flatMap((operation): Comparison[] => [
    { what: "outside: the same twice", operation, where: OUTSIDE, there: ["escape", "escape"] },
    {
      what: "outside: containers with rules, to those without",
      operation,
      where: OUTSIDE,
      there: ["escape", "rules"],
    },
    {
      what: "container with 14 rules, to one without",
      operation,
      where: ["escape", "rules"],
      there: ["rules", "rules"],
    },
  ]),
];

const base = mkdtempSync("/tmp/isolator-bench-files-");
const BELOW = "some/directories/deep/file";
const onExt4 = join(base, BELOW);
/** As deep in its file system. */
const btrfs = join(base, "btrfs");
const onBtrfs = join(btrfs, "as/deep", BELOW);

/** @returns instructions for one */
function measure(operation: Operation, file: string, where: Container | undefined): number {
  const path = operation === "change" ? `${file}.new` : file;
  const command = [OPENS, operation, path, `${N[operation]}`];
  const [program = "", ...args] = where ? inNode(where.node, command) : command;
  return Number(execFileSync(program, args, { encoding: "utf8" })) / COUNTED_NS;
}

/** Containers and programs that come and go. */
class Stage {
  private readonly instance = Instance.open(`bench-${process.pid}`);
  private readonly containers = new Map<string, Container>();
  private readonly few = Array.from({ length: 10 }, (_, i) => join(base, `ruled-${i}`));
  private readonly many = Array.from({ length: 2000 }, (_, i) => join(base, `many/${i}`));
  private there: There = "nothing";
  private remove: (() => void) | undefined;

  constructor() {
    execFileSync("sh", ["-c", `truncate -s 40M ${btrfs}.image && mkfs.btrfs -q --mixed ${btrfs}.image`]);
    mkdirSync(btrfs);
    execFileSync("sh", ["-c", `modprobe loop && mount -o loop ${btrfs}.image ${btrfs}`]);
    for (const path of [onExt4, onBtrfs]) mkdirSync(dirname(path), { recursive: true });
    for (const name of ["many", "watched"]) mkdirSync(join(base, name));
    for (const path of [onExt4, onBtrfs, ...this.few, ...this.many]) writeFileSync(path, "");
  }

  container(name: Side): Container | undefined {
    return name === undefined ? undefined : this.containers.get(name);
  }

  /** Of what is taken away, the kernel detaches programs when it comes to it: so that waits, on the guest's own clock. */
  async set(there: There): Promise<void> {
    if (there === this.there) return;
    await this.change(there);
    await setTimeout(SETTLE_MS);
  }

  private async change(there: There): Promise<void> {
    const containers = there === "escape" || there === "rules";
    // From the one to the other all that stays is left alone.
    if (there !== "rules") for (const name of ["many", "rules"]) await this.end(name);
    if (!containers) await this.end("escape");
    this.remove?.();
    this.remove = undefined;
    this.there = there;
    if (there === "hook") this.remove = emptyHook();
    else if (there !== "nothing") this.remove = watchElsewhere();
    if (containers) await this.prepare("escape", undefined);
    if (there !== "rules") return;
    const readonly = ["/usr", "/boot", "/var/lib"];
    await this.prepare("rules", files({ deny: this.few, readonly, allow: ["/usr/lib"] }));
    await this.prepare("many", files({ deny: this.many }));
  }

  private async prepare(name: string, rules: FilesPolicy | undefined): Promise<void> {
    if (this.containers.has(name)) return;
    const given = policy("", { escape: "deny", ...(rules ? { files: rules } : {}) });
    this.containers.set(name, await prepareContainer(this.instance, { id: [name], policy: given }));
  }

  private async end(name: string): Promise<void> {
    await this.containers.get(name)?.cleanup();
    this.containers.delete(name);
  }
}

/** Attaches a program that allows to file_open of a cgroup where nobody is. @returns takes all away */
function emptyHook(): () => void {
  const node = CgroupNode.create(join(requireCgroup2(), `bench-files-${process.pid}`));
  const result = attachLsm(hookNamed("file_open"), 1, node);
  if (result < 0) throw new Error(`a program on file_open: errno ${-result}`);
  return () => {
    // The program goes with it.
    rmdirSync(node.path);
  };
}

/** @returns ends it */
function watchElsewhere(): () => void {
  const watcher = watch(join(base, "watched"));
  return () => {
    watcher.close();
  };
}

async function compare(stage: Stage, comparison: Comparison, count: number): Promise<string[]> {
  const { what, operation, where, there } = comparison;
  const run = (side: 0 | 1): number =>
    measure(operation, comparison.btrfs ? onBtrfs : onExt4, stage.container(where[side]));
  const samples: [number[], number[]] = [[], []];
  // What comes and goes takes seconds: then in blocks, ABBA too.
  const block = there[0] === there[1] ? 1 : Math.ceil(count / 4);
  for (let done = 0, turn = 0; done < count; done += block, turn++) {
    for (const side of turn % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
      await stage.set(there[side]);
      // The first finds nothing that is remembered, of the kernel's neither.
      run(side);
      for (let i = 0; i < block; i++) samples[side].push(run(side));
    }
  }
  const { median, low, high } = spread(pairs(samples[1], samples[0], (x, y) => x / y));
  const ratios = [median.toFixed(3), `${low.toFixed(3)}–${high.toFixed(3)}`];
  const row = [WHAT[operation], what, ...ratios, spread(samples[0]).median.toFixed(0)];
  process.stderr.write(`${row.join(" ")}\n`);
  return row;
}

async function guest(count: number): Promise<string> {
  const stage = new Stage();
  const rows: string[][] = [];
  try {
    for (const comparison of COMPARISONS) rows.push(await compare(stage, comparison, count));
  } finally {
    await stage.set("nothing");
    execFileSync("umount", [btrfs]);
    rmSync(base, { recursive: true, force: true });
  }
  return table(["what", "where", "ratio", "95 %", "instructions"], rows, 2);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      kernel: { type: "string", default: "6.12-cloud" },
      pairs: { type: "string", default: "8" },
      write: { type: "boolean", default: false },
      guest: { type: "boolean", default: false },
    },
  });
  if (values.guest) {
    process.stdout.write(`TABLE\n${await guest(Number(values.pairs))}\n`);
    return;
  }
  rmSync(base, { recursive: true, force: true });
  const command = ["node", "dist/test/bench/files.js", "--guest", "--pairs", values.pairs];
  const { output, exitCode } = await bootVm({
    kernel: values.kernel,
    command,
    timeout: 1_500_000,
    counted: true,
    onOutput: (text) => process.stderr.write(text),
  });
  if (exitCode !== 0) throw new Error(output);
  const found = output.slice(output.indexOf("TABLE\n") + "TABLE\n".length).replaceAll("\r", "");
  const text =
    `Instructions that the processor executes, on Debian's ${values.kernel} kernel in a VM: those of what stands first to ` +
    `those of the other, median of ${values.pairs} pairs (\`npm run bench:files\`). 1.000 is no cost. The last column is those ` +
    `of the other:\n\n${found}`;
  if (values.write) writeReadme("bench:files", text);
  else process.stdout.write(`${text}\n`);
}

await main();
