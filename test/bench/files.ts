/**
 * `npm run bench:files`: what rules for files cost, in the kernel lab's VM, since build machines take no BPF LSM program. There
 * the processor is emulated and nanoseconds mean nothing, so instructions are counted: the guest's clock is their number
 * (VmOptions.counted). They do not depend on what the machine does meanwhile.
 *
 * Each figure is the median of the ratios of pairs of runs, in ABBA order; "the same twice" is what the measurement makes of
 * nothing. Options: --kernel NAME, --pairs N, --write (README.md).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { Container } from "../../isolator/containers/container.js";
import { Instance } from "../../isolator/containers/instance.js";
import type { Policy } from "../../isolator/features/policy.js";
import { files } from "../support/files.js";
import { policy } from "../support/instance.js";
import { DIST, inNode } from "../support/process.js";
import { bootVm, COUNTED_NS } from "../vm/boot.js";
import { pairs, spread } from "./lib/stats.js";
import { table, writeReadme } from "./lib/table.js";

const OPENS = join(DIST, "test/helpers/opens");
const N = { open: 4_000, change: 600, ioctl: 6_000 } as const;
const WHAT = {
  open: "open() and close()",
  change: "creating and removing a file",
  ioctl: "ioctl()",
} as const;
type Operation = keyof typeof N;

/** Where it is measured: undefined is outside of every container. */
type Side = () => Container | undefined;

interface Comparison {
  what: string;
  operation: Operation;
  a: Side;
  b: Side;
  /** Whether a container has rules meanwhile, on each side. */
  rules: [a: boolean, b: boolean];
}

const base = mkdtempSync("/tmp/isolator-bench-files-");
const file = join(base, "some/directories/deep/file");

/** @returns instructions for one */
function measure(operation: Operation, where: Container | undefined): number {
  const path = operation === "change" ? `${file}.new` : file;
  const command = [OPENS, operation, path, `${N[operation]}`];
  const [program = "", ...args] = where ? inNode(where.node, command) : command;
  return Number(execFileSync(program, args, { encoding: "utf8" })) / COUNTED_NS;
}

async function guest(count: number): Promise<string> {
  mkdirSync(join(base, "some/directories/deep"), { recursive: true });
  writeFileSync(file, "");
  const instance = Instance.open(`bench-${process.pid}`);
  const containers = new Map<string, Container>();
  const prepare = async (name: string, more: Partial<Policy>): Promise<void> => {
    containers.set(name, await Container.prepare(instance, { id: [name], policy: policy("", more) }));
  };
  const end = async (name: string): Promise<void> => {
    await containers.get(name)?.cleanup();
    containers.delete(name);
  };
  const few = Array.from({ length: 10 }, (_, i) => `/etc/ruled-${i}`);
  const rules = { files: files({ deny: few, readonly: ["/usr", "/boot", "/var/lib"], allow: ["/usr/lib"] }) };
  for (const path of few) writeFileSync(path, "");
  const many = Array.from({ length: 2000 }, (_, i) => join(base, `many/${i}`));
  mkdirSync(join(base, "many"));
  for (const path of many) writeFileSync(path, "");
  const inside =
    (name: string): Side =>
    () =>
      containers.get(name);
  const outside: Side = () => undefined;
  const comparisons: Comparison[] = [
    {
      what: "outside, no rules: the same twice",
      operation: "open",
      a: outside,
      b: outside,
      rules: [false, false],
    },
    {
      what: "outside, while a container has rules",
      operation: "open",
      a: outside,
      b: outside,
      rules: [false, true],
    },
    {
      what: "container without rules, while another has some",
      operation: "open",
      a: inside("plain"),
      b: inside("plain"),
      rules: [false, true],
    },
    {
      what: "container with 14 rules, to one without",
      operation: "open",
      a: inside("escape"),
      b: inside("rules"),
      rules: [true, true],
    },
    {
      what: "the same, `escape: allow` (no other program on open)",
      operation: "open",
      a: inside("plain"),
      b: inside("rules"),
      rules: [true, true],
    },
    {
      what: "container with 2,000 rules, to one without",
      operation: "open",
      a: inside("escape"),
      b: inside("many"),
      rules: [true, true],
    },
    {
      what: "outside, no rules: the same twice",
      operation: "change",
      a: outside,
      b: outside,
      rules: [false, false],
    },
    {
      what: "outside, while a container has rules",
      operation: "change",
      a: outside,
      b: outside,
      rules: [false, true],
    },
    {
      what: "container with 14 rules, to one without",
      operation: "change",
      a: inside("escape"),
      b: inside("rules"),
      rules: [true, true],
    },
  ];
  comparisons.push(
    {
      what: "outside, no rules: the same twice",
      operation: "ioctl",
      a: outside,
      b: outside,
      rules: [false, false],
    },
    {
      what: "outside, while a container has rules",
      operation: "ioctl",
      a: outside,
      b: outside,
      rules: [false, true],
    },
  );
  const rows: string[][] = [];
  try {
    await prepare("plain", {});
    for (const { what, operation, a, b, rules: with_ } of comparisons) {
      const setRules = async (there: boolean): Promise<void> => {
        if (there === containers.has("rules")) return;
        if (there) {
          await prepare("rules", { ...rules, escape: "deny" });
          await prepare("escape", { escape: "deny" });
          await prepare("many", { files: files({ deny: many }), escape: "deny" });
        } else for (const name of ["many", "escape", "rules"]) await end(name);
      };
      const samples: [number[], number[]] = [[], []];
      // Rules that come and go take seconds: then in blocks, ABBA too.
      const changes = with_[0] !== with_[1];
      const block = changes ? Math.ceil(count / 4) : 1;
      for (let done = 0, turn = 0; done < count; done += block, turn++) {
        for (const side of turn % 2 === 0 ? ([0, 1] as const) : ([1, 0] as const)) {
          await setRules(with_[side]);
          for (let i = 0; i < block; i++) samples[side].push(measure(operation, (side === 0 ? a : b)()));
        }
      }
      const { median, low, high } = spread(pairs(samples[1], samples[0], (x, y) => x / y));
      rows.push([
        ...[what, WHAT[operation], median.toFixed(3), `${low.toFixed(3)}–${high.toFixed(3)}`],
        spread(samples[0]).median.toFixed(0),
      ]);
      process.stderr.write(`${rows.at(-1)?.join(" ") ?? ""}\n`);
    }
  } finally {
    for (const name of [...containers.keys()].reverse()) await end(name);
    rmSync(base, { recursive: true, force: true });
    for (const path of few) rmSync(path, { force: true });
  }
  return table(["where", "what", "ratio", "95 %", "instructions"], rows, 2);
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
    `Instructions that the processor executes, on Debian's ${values.kernel} kernel in a VM: those where the rules are to those ` +
    `where they are not, median of ${values.pairs} pairs (\`npm run bench:files\`). 1.000 is no cost. The last column is those ` +
    `for one without:\n\n${found}`;
  if (values.write) writeReadme("bench:files", text);
  else process.stdout.write(`${text}\n`);
}

await main();
