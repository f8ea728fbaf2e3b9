/**
 * The kernel lab's command: boots Debian's kernels and runs the kernel-facing tests in each, and after the first that is done
 * the tests that boot special machines (dist/test/vm/*.test.js). With FILES, just those, and in the guest.
 */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bootVm, prepareVm } from "./boot.js";
import type { GuestLayout, VmResult } from "./boot.js";
import { PROJECT } from "./image.js";
import { KERNELS } from "./kernels.js";
import { filesOf, guestSuite, testFiles } from "./suite.js";
import { VmFailure, VmUnavailable, giveWay, say, seconds } from "./tools.js";

const USAGE = `usage: main.js [--kernel NAME]... [--cmdline TEXT] [--layout pure|hybrid|v1|none] [--timeout SECONDS]
               [--command SHELL-COMMAND | FILES...]

  --kernel    ${Object.keys(KERNELS).join(", ")} (more than once: at the same time)
  --cmdline   more for the kernel's command line, as "lsm=apparmor"
  --layout    how the guest mounts control groups (default: pure)
  --timeout   for one boot with its tests (default: 2700, for machines that do other things too)
  --command   run this in the guest instead of tests
  FILES       compiled test files (dist/test/...)`;

type Verdict = "passed" | "failed";

/**
 * How far other guests give way to the first, which has the most to do: where there are few cores it ends last, and nothing
 * is left to be done beside it then.
 */
const NICE = 2;

/** The product under its name, as in its documents. */
const NAMED = 'bpf-isolator() { node dist/isolator/cli/main.js "$@"; };';

interface Job {
  kernels: string[];
  files: string[];
  shellCommand: string | undefined;
  cmdline: string | undefined;
  layout: GuestLayout;
  /** ms */
  timeout: number;
  /** Of the whole lab: kernels run their part, and there are the tests that boot special machines. */
  whole: boolean;
}

function isLayout(text: string): text is GuestLayout {
  return ["pure", "hybrid", "v1", "none"].includes(text);
}

function readArguments(): Job {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      kernel: { type: "string", multiple: true },
      cmdline: { type: "string" },
      layout: { type: "string", default: "pure" },
      timeout: { type: "string", default: "2700" },
      command: { type: "string" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    console.log(USAGE);
    process.exit(0);
  }
  const usual = Object.keys(KERNELS).filter((name) => KERNELS[name]?.usual);
  const kernels = values.kernel ?? usual;
  const unknown = kernels.find((name) => KERNELS[name] === undefined);
  if (unknown !== undefined)
    throw new Error(`no kernel '${unknown}': there are ${Object.keys(KERNELS).join(", ")}`);
  if (!isLayout(values.layout)) throw new Error(`no layout '${values.layout}': pure, hybrid, v1 or none`);
  const timeout = Number(values.timeout) * 1000;
  if (!(timeout > 0)) throw new Error(`--timeout '${values.timeout}' is not a number of seconds`);
  const everything = positionals.length === 0 && values.command === undefined;
  const suite = everything ? guestSuite() : { files: positionals, left: [] };
  for (const { file, reason } of suite.left) say("suite", `${file} stays on the host: ${reason}`);
  return {
    ...{ kernels, timeout, files: suite.files, shellCommand: values.command },
    ...{ cmdline: values.cmdline, layout: values.layout, whole: everything && values.kernel === undefined },
  };
}

function testCommand(files: string[]): string[] {
  const live = ["--test-reporter=spec", "--test-reporter-destination=stdout"];
  const kept = ["--test-reporter=tap", "--test-reporter-destination=/run/results/tests.tap"];
  // No source maps: each of some 50 files would read those of all modules, which takes half a second here.
  return ["node", "--test", ...live, ...kept, ...files];
}

/** One line of the guest's test run. A run of no test at all has failed. */
function summarize(result: VmResult): { passed: boolean; text: string } {
  const tap = readFileSync(join(result.logs, "results/tests.tap"), "utf8");
  const count = (what: string): number => Number(new RegExp(`^# ${what} (\\d+)$`, "m").exec(tap)?.[1] ?? 0);
  const [tests, pass, fail, skipped] = [count("tests"), count("pass"), count("fail"), count("skipped")];
  const text = `${tests} tests: ${pass} passed, ${fail} failed, ${skipped} skipped`;
  return { passed: result.exitCode === 0 && pass > 0, text };
}

/** Whether the kernel is there to be booted; says so when it is not. */
async function prepare(kernel: string): Promise<boolean> {
  try {
    await prepareVm(kernel);
    return true;
  } catch (error) {
    if (!(error instanceof VmUnavailable)) throw error;
    say(kernel, `skipped: ${error.message}`);
    return false;
  }
}

/** @param live whether the guest's output is shown as it comes, or at the end; the others give way to that one */
async function runKernel(kernel: string, job: Job, live: boolean): Promise<Verdict> {
  const started = Date.now();
  const tests = job.shellCommand === undefined;
  const files = job.whole ? filesOf(KERNELS[kernel]?.part, job.files) : job.files;
  const what = tests ? `${files.length} test files` : (job.shellCommand ?? "");
  say(kernel, `booting, then ${what} (at most ${job.timeout / 1000} s)`);
  try {
    const result = await bootVm({
      ...{ kernel, layout: job.layout, timeout: job.timeout, nice: live ? 0 : NICE },
      ...(job.cmdline === undefined ? {} : { cmdline: job.cmdline }),
      command:
        job.shellCommand === undefined ? testCommand(files) : ["bash", "-c", `${NAMED} ${job.shellCommand}`],
      // Tests that cannot run on a build machine must run here: a skip for want of a feature is a failure.
      env: { BPF_ISOLATOR_VM: kernel },
      onOutput: (chunk) => live && process.stdout.write(chunk),
    });
    if (!live) process.stdout.write(result.output);
    const { passed, text } = tests
      ? summarize(result)
      : { passed: result.exitCode === 0, text: `exit code ${result.exitCode}` };
    const times = `${seconds(started)} in all; in the guest: boot ${result.bootSeconds} s, end ${result.totalSeconds} s`;
    say(kernel, `${passed ? "passed" : "FAILED"}: ${text} (${times}; logs in ${result.logs})`);
    return passed ? "passed" : "failed";
  } catch (error) {
    say(
      kernel,
      `FAILED after ${seconds(started)}: ${error instanceof VmFailure ? error.message : String(error)}`,
    );
    return "failed";
  }
}

/** The tests that boot machines of their own. What they say is shown at their end: a guest may be talking. */
function runSpecial(): Promise<Verdict> {
  const files = testFiles("vm");
  if (files.length === 0) return Promise.resolve("passed");
  const started = Date.now();
  say("special", `machines with other settings: ${files.length} test files`);
  const child = spawn(
    process.execPath,
    ["--enable-source-maps", "--test", "--test-reporter=spec", ...files],
    {
      cwd: PROJECT,
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  if (child.pid !== undefined) giveWay(child.pid, NICE);
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => (output += chunk));
  return new Promise((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => {
      process.stdout.write(output);
      say("special", `${code === 0 ? "passed" : "FAILED"} in ${seconds(started)}`);
      resolve(code === 0 ? "passed" : "failed");
    });
  });
}

/** Runs the special machines once a kernel has passed; a lab in which none does has its failure. */
async function runSpecialAfter(kernels: readonly Promise<Verdict>[]): Promise<Verdict[]> {
  const passed = kernels.map(async (kernel) => {
    if ((await kernel) === "failed") throw new Error("failed");
  });
  const one = await Promise.any(passed).then(
    () => true,
    () => false,
  );
  return one ? [await runSpecial()] : [];
}

async function main(): Promise<number> {
  const job = readArguments();
  if (job.files.length === 0 && job.shellCommand === undefined)
    throw new Error("no compiled test files in dist/test: npm run build");
  const kernels: string[] = [];
  for (const kernel of job.kernels) if (await prepare(kernel)) kernels.push(kernel);
  // A guest keeps one core busy. All at once, then: the first one's output is shown as it comes, the others' at their end.
  const guests = kernels.map((kernel, index) => runKernel(kernel, job, index === 0));
  const special = job.whole ? runSpecialAfter(guests) : Promise.resolve([]);
  const verdicts = [...(await Promise.all(guests)), ...(await special)];
  return verdicts.includes("failed") ? 1 : 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  process.stderr.write(`vm: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 2;
}
