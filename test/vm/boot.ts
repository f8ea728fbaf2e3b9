/** Boots a kernel of KERNELS under qemu, runs one command in it and brings back what it said. */
import { spawn } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Cache } from "./cache.js";
import { makeProjectImage, provideBase } from "./image.js";
import { provideKernel } from "./kernels.js";
import {
  VmFailure,
  VmMachineFault,
  VmUnavailable,
  giveWay,
  lastLines,
  requireTool,
  run,
  say,
} from "./tools.js";

/** How the guest mounts control groups: as newer distributions do, as most Mesos agents have it, v1 only, not at all. */
export type GuestLayout = "pure" | "hybrid" | "v1" | "none";

/** What an instruction takes where they are counted: more, and a busy guest would seem to stand still. */
export const COUNTED_NS = 8;

export interface VmOptions {
  /**
   * The guest's clocks count the instructions that its one processor executes, COUNTED_NS each, whatever this machine does
   * meanwhile.
   */
  counted?: boolean;
  /** Key of KERNELS; "6.1-cloud" if not given. */
  kernel?: string;
  /** More for the kernel's command line, as "lsm=apparmor". */
  cmdline?: string;
  /** "pure" if not given. */
  layout?: GuestLayout;
  /** Whether bpffs is mounted at /sys/fs/bpf; it is if not given. */
  bpffs?: boolean;
  /** Program and arguments, run as root in /work, where the built project is. */
  command: string[];
  env?: Record<string, string>;
  /** ms from qemu's start to its end; 8 minutes if not given. */
  timeout?: number;
  /** How far the machine gives way to others; not if not given. */
  nice?: number;
  /** Gets the command's output as it comes. */
  onOutput?: (chunk: string) => void;
}

export interface VmResult {
  /** Exit code of the command: 128 + the signal's number when one ended it. */
  exitCode: number;
  /** What the command wrote to stdout and stderr. */
  output: string;
  /** The kernel's console: warnings and worse. */
  console: string;
  /** Directory with output.log, console.log and what the guest left in /run/results (dmesg.txt, processes.txt, ...). */
  logs: string;
  /** Seconds from the kernel's start to the command's start, and to its end with results saved. */
  bootSeconds: number;
  totalSeconds: number;
}

const DEFAULT_TIMEOUT_MS = 8 * 60_000;
/**
 * Longest silence of a guest that lives: it is up within 10 s and from then on says something every 5 s. A machine that
 * stands still says nothing about what was asked of it, so it is booted again, and that is said.
 */
const SILENCE_MS = 90_000;
/**
 * Another failure of the machine itself. A kernel that changes its code (as it does to call a BPF LSM program) has a
 * breakpoint there meanwhile, and all processors stop before it forgets that. One that qemu emulates in a thread of its own
 * may still run what it translated before, and comes upon the breakpoint too late.
 */
const STALE_CODE = /(?:^|\s)int3: 0000 \[#1\]/m;
const BOOTS = 3;
/** So long before the time is up the guest says what runs in it. */
const LAST_WORDS_MS = 20_000;
/**
 * Console with warnings and worse; a panic or an oops ends qemu (-no-reboot). qemu keeps translated code by its address:
 * without norandmaps each start of a program is translated anew, and takes three times as long.
 */
/** preempt=full: programs are interrupted anywhere, as they may be on any kernel, and seldom are on most. */
const CMDLINE = "console=ttyS0 loglevel=5 panic=-1 oops=panic norandmaps preempt=full";
const MEMORY_MIB = 2048;
const CPUS = 2;
const RESULT_BYTES = 256 << 20;

/**
 * Fills the cache for a kernel, so that the next boot is quick.
 * @throws VmUnavailable where this machine's apt lacks the kernel
 */
export async function prepareVm(kernel: string): Promise<void> {
  const cache = new Cache();
  await provideBase(await provideKernel(kernel, cache), cache);
}

/** Why this machine cannot have that VM, in words for a skipped test; undefined when it can, and is ready for it. */
export async function vmSkipReason(kernel = "6.1-cloud"): Promise<string | undefined> {
  try {
    await prepareVm(kernel);
    return undefined;
  } catch (error) {
    if (error instanceof VmUnavailable) return error.message;
    throw error;
  }
}

/**
 * Runs a command in a VM to its end. From its start again where the emulated machine failed: not where the command did.
 * @throws VmUnavailable where this machine's apt lacks the kernel
 * @throws VmFailure when the guest panics, hangs, or stops before the command ends
 */
export async function bootVm(options: VmOptions): Promise<VmResult> {
  for (let boot = 1; ; boot++) {
    try {
      return await bootOnce(options);
    } catch (error) {
      if (!(error instanceof VmMachineFault) || boot === BOOTS) throw error;
      say(options.kernel ?? "6.1-cloud", `${error.message}\n--- boot ${boot} of ${BOOTS} failed: once more`);
    }
  }
}

async function bootOnce(options: VmOptions): Promise<VmResult> {
  const cache = new Cache();
  const kernel = await provideKernel(options.kernel ?? "6.1-cloud", cache);
  const base = await provideBase(kernel, cache);
  const directory = cache.makeRun(kernel.name);
  const project = join(directory, "project.img");
  const results = join(directory, "results.img");
  try {
    await makeProjectImage(project, jobScript(options), guestOptions(options));
    writeFileSync(results, "");
    truncateSync(results, RESULT_BYTES);
    const cmdline = `${CMDLINE} ${options.cmdline ?? ""}`;
    const machine = [
      "-m",
      `${MEMORY_MIB}`,
      ...(options.counted
        ? ["-smp", "1", "-accel", "tcg,thread=single", "-icount", "shift=3,sleep=off"]
        : ["-smp", `${CPUS}`, "-accel", "tcg,thread=multi"]),
      "-cpu",
      "max",
      "-nic",
      "none",
    ];
    const args = [
      ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", ...machine],
      ...["-kernel", kernel.image, "-initrd", join(base, "initramfs.cpio"), "-append", cmdline],
      ...disk(join(base, "base.img"), "snapshot=on"),
      ...disk(project, "snapshot=on"),
      ...disk(results, "cache=unsafe"),
      ...["-serial", `file:${join(directory, "console.log")}`, "-device", "virtio-serial-pci"],
      ...port("output", "stdio,signal=off"),
      ...port("control", `file,path=${join(directory, "control.log")}`),
    ];
    const end = await runQemu(args, directory, options);
    return await collect(directory, kernel.name, end);
  } finally {
    rmSync(project, { force: true });
    rmSync(results, { force: true });
  }
}

function disk(file: string, how: string): string[] {
  return ["-drive", `file=${file},format=raw,if=virtio,${how}`];
}

function port(name: string, chardev: string): string[] {
  const [kind, ...options] = chardev.split(",");
  return [
    "-chardev",
    [kind, `id=${name}`, ...options].join(","),
    "-device",
    `virtserialport,chardev=${name},name=${name}`,
  ];
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

function jobScript(options: VmOptions): string {
  const env = Object.entries(options.env ?? {}).map(([name, value]) => `export ${name}=${quote(value)}\n`);
  return `${env.join("")}${options.command.map(quote).join(" ")}\n`;
}

function guestOptions(options: VmOptions): string {
  const patience = Math.max(1, Math.floor(((options.timeout ?? DEFAULT_TIMEOUT_MS) - LAST_WORDS_MS) / 1000));
  return `layout=${options.layout ?? "pure"} bpffs=${options.bpffs === false ? 0 : 1} patience=${patience}\n`;
}

interface QemuEnd {
  output: string;
  /** What went wrong on the host's side: a timeout, or qemu's own message. */
  trouble: string | undefined;
  /** The machine stood still. */
  silent: boolean;
}

/** Runs qemu until it ends or its time is up. It dies with this process, however that ends. */
function runQemu(args: string[], directory: string, options: VmOptions): Promise<QemuEnd> {
  const qemu = requireTool("qemu-system-x86_64", "qemu-system-x86");
  const timeout = options.timeout ?? DEFAULT_TIMEOUT_MS;
  const child = spawn(requireTool("setpriv", "util-linux"), ["--pdeathsig", "KILL", qemu, ...args], {
    // stdin stays open and silent: at its end qemu would take the port for unplugged and drop the output.
    stdio: ["pipe", "pipe", "pipe"],
    // qemu keeps the overlays of snapshot=on there.
    env: { ...process.env, TMPDIR: directory },
  });
  return new Promise((resolve, reject) => {
    if (child.pid !== undefined) giveWay(child.pid, options.nice ?? 0);
    let output = "";
    let errors = "";
    let trouble: string | undefined;
    let silent = false;
    const timer = setTimeout(() => {
      trouble = `not done after ${timeout / 1000} s: killed`;
      child.kill("SIGKILL");
    }, timeout);
    let told = -1;
    let toldAt = Date.now();
    const watch = setInterval(() => {
      const size = readLog(directory, "control.log").length;
      if (size !== told) [told, toldAt] = [size, Date.now()];
      if (Date.now() - toldAt < SILENCE_MS) return;
      silent = true;
      trouble ??= `no sign of life for ${SILENCE_MS / 1000} s: killed`;
      child.kill("SIGKILL");
    }, 1000);
    child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
      output += chunk;
      options.onOutput?.(chunk);
    });
    child.stderr.setEncoding("utf8").on("data", (chunk: string) => (errors += chunk));
    child.on("error", reject);
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      clearInterval(watch);
      if (code !== 0)
        trouble ??= `qemu ended with ${signal ?? `exit code ${code ?? "?"}`}: ${lastLines(errors, 5)}`;
      resolve({ output, trouble, silent });
    });
  });
}

function readLog(directory: string, name: string): string {
  try {
    return readFileSync(join(directory, name), "utf8").replaceAll("\r", "");
  } catch {
    return "";
  }
}

/** Reads what the guest left, and judges whether it came to its proper end. */
async function collect(directory: string, name: string, end: QemuEnd): Promise<VmResult> {
  writeFileSync(join(directory, "output.log"), end.output);
  const console = readLog(directory, "console.log");
  const control = readLog(directory, "control.log");
  const told = (word: string): string | undefined => new RegExp(`^${word} (\\S+)$`, "m").exec(control)?.[1];
  const exitCode = told("exit");
  const finished = told("end");
  const panic = /Kernel panic - not syncing: .*/.exec(console)?.[0];
  const trouble =
    end.trouble ??
    panic ??
    (finished === undefined ? "the guest stopped before its command ended" : undefined);
  if (trouble !== undefined || exitCode === undefined || finished === undefined) {
    const tail = `${lastLines(console, 40)}\n--- end of the command's output:\n${lastLines(end.output, 10)}`;
    const message = `vm ${name}: ${panic ?? trouble ?? "no exit code"}\n--- end of the console (${directory}):\n${tail}`;
    if ((end.silent && panic === undefined) || STALE_CODE.test(console)) throw new VmMachineFault(message);
    const processes = control.split("\n").filter((line) => line.startsWith("process "));
    throw new VmFailure(
      [message, ...(processes.length > 0 ? ["--- what ran:", ...processes] : [])].join("\n"),
    );
  }
  mkdirSync(join(directory, "results"));
  await run("tar", ["-xf", join(directory, "results.img"), "-C", join(directory, "results")]);
  return {
    exitCode: Number(exitCode),
    output: end.output,
    console,
    logs: directory,
    bootSeconds: Number(told("start")),
    totalSeconds: Number(finished),
  };
}
